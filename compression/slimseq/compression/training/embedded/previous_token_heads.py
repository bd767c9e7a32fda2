"""Heads that look at the token before from the start: a beginning for a T5 that has to learn to copy.

Copying needs to know what was copied last, and T5's relative position bias begins without any order in it. Such heads
are what induction is made of (Olsson et al. 2022, https://arxiv.org/abs/2209.11895).
"""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Added to a logit: e^4 times the weight of any other place.
HEAD_START = 4.0
ENCODER = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
DECODER = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def add_previous_token_heads(model: "PreTrainedModel") -> None:
    """Adds 4 to biases of a T5, in place.

    Head 0 of the encoder and of the decoder sees the token before, head 1 of the encoder the one before that. In either
    stack the first buckets are the distances to the left.

    Args:
        model: a T5 of at least 2 heads.
    """
    with torch.no_grad():
        for name, distance, head in ((ENCODER, 1, 0), (ENCODER, 2, 1), (DECODER, 1, 0)):
            model.get_parameter(name)[distance, head] += HEAD_START
