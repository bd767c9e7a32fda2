"""Importance by chance: what every other criterion has to beat."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.anatomy import anatomy_of
from slimseq.compression.context import Context
from slimseq.compression.prune.criteria.protocol import Importance, weight_of
from slimseq.compression.training.data import TrainingSet
from slimseq.models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def chance(model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
    """Scores parts uniformly from 0 to 1, the same for the same seed.

    Args:
        model: a T5 or BART; left as it is.
        calibration: not looked at.
        context: the seed.
    """
    anatomy = anatomy_of(model)
    generator = torch.Generator().manual_seed(context.seed)
    channels: dict[str, torch.Tensor] = {}
    heads: dict[str, torch.Tensor] = {}
    for stack in anatomy.stacks:
        for layer in stack.layers:
            down = layer.feed_forward.down
            channels[down] = torch.rand(weight_of(model, down).shape[1], generator=generator)
            for attention in layer.attentions:
                count = weight_of(model, attention.output).shape[1] // anatomy.head_dim
                heads[attention.output] = torch.rand(count, generator=generator)
    has_width = anatomy.family is Family.BART
    return Importance(channels, heads, torch.rand(model.config.d_model, generator=generator) if has_width else None)
