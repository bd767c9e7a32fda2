"""Importance by chance: what every other criterion has to beat."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import Importance, weight_of
from slimseq.compression.train.data.pairs import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score(model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
    """Scores parts uniformly from 0 to 1, the same for the same seed."""
    architecture = architecture_of_model(model)
    generator = torch.Generator().manual_seed(context.seed)
    channels: dict[str, torch.Tensor] = {}
    heads: dict[str, torch.Tensor] = {}
    for stack in architecture.stacks:
        for layer in stack.layers:
            down = layer.feed_forward.down
            channels[down] = torch.rand(weight_of(model, down).shape[1], generator=generator)
            for attention in layer.attentions:
                heads[attention.output] = torch.rand(stack.heads.count, generator=generator)
    has_fixed_width = architecture.family.has_own_head_width
    return Importance(channels, heads, None if has_fixed_width else torch.rand(architecture.width, generator=generator))
