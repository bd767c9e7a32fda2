"""Initializes attention heads of a T5 to attend to the previous token, so that it learns to copy faster.

A model that copies needs the previous token, and T5's relative position bias is random at first. Induction heads are
built on such heads (Olsson et al. 2022, https://arxiv.org/abs/2209.11895).
"""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.models import architecture_of_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Added to a logit: e^4 times the weight of any other position.
HEAD_START = 4.0


def add_previous_token_heads(model: "PreTrainedModel") -> None:
    """Adds 4 to biases of a T5, in place.

    Head 0 of the encoder and of the decoder attends to the previous token, head 1 of the encoder to the one before. In
    both stacks the first buckets are the distances to the left.
    """
    encoder, decoder = (stack.layers[0].self_attention for stack in architecture_of_model(model).stacks)
    with torch.no_grad():
        for attention, distance, head in ((encoder, 1, 0), (encoder, 2, 1), (decoder, 1, 0)):
            model.get_parameter(f"{attention.position_bias}.weight")[distance, head] += HEAD_START
