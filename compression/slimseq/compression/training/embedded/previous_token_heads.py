"""Heads that look at the token before from the start: a beginning for a T5 that has to learn to copy.

Copying needs to know what was copied last, and T5's relative position bias begins without any order in it. Such heads
are what induction is made of (Olsson et al. 2022, https://arxiv.org/abs/2209.11895).
"""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.models import architecture_of_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Added to a logit: e^4 times the weight of any other place.
HEAD_START = 4.0


def add_previous_token_heads(model: "PreTrainedModel") -> None:
    """Adds 4 to biases of a T5, in place.

    Head 0 of the encoder and of the decoder sees the token before, head 1 of the encoder the one before that. In either
    stack the first buckets are the distances to the left.

    Args:
        model: a T5 of at least 2 heads.
    """
    encoder, decoder = (stack.layers[0].self_attention for stack in architecture_of_model(model).stacks)
    with torch.no_grad():
        for attention, distance, head in ((encoder, 1, 0), (encoder, 2, 1), (decoder, 1, 0)):
            model.get_parameter(f"{attention.position_bias}.weight")[distance, head] += HEAD_START
