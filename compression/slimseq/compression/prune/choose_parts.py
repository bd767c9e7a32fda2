"""Chooses which heads and feed-forward channels stay where a plan says how many, and fits the weights that stay.

Parts lose what `second_order` removes first. The projections that leave them are fitted by least squares to their
outputs before the cut.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from slimseq.compression.context import Context
from slimseq.compression.prune.cut_to_plan import KeptParts
from slimseq.compression.prune.layer_plan import LayerPlan
from slimseq.compression.prune.model_parts import ModelPart, parts_of
from slimseq.compression.prune.ranked_parts import rank_parts
from slimseq.compression.prune.second_order import Projection, Removal, inputs_of
from slimseq.compression.train.data.training_data import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose_parts(
    model: "PreTrainedModel",
    plan: LayerPlan,
    calibration: TrainingSet,
    context: Context,
    cache: Path | None = None,
) -> tuple[KeptParts, dict[str, torch.Tensor]]:
    """Chooses the parts that stay, on calibration pairs; the arguments of `cut_to_plan`.

    Afterwards the model is on `context.device` and in evaluation mode. Its weights stay the same. `cache` is a folder
    of this model alone: with it, later calls with other plans and the same pairs take a fraction of the time. What is
    chosen is the same without it.

    Returns:
        The heads and channels that stay, and the fitted weights and biases, by the name of the tensor. Parts that stay
        whole are in neither.
    """
    counts = _counts(model, plan)
    kept: dict[str, torch.Tensor] = {}
    fitted: dict[str, torch.Tensor] = {}

    def fit(part: ModelPart, projection: Projection, removal: Removal) -> None:
        count = counts.get(part.projection, part.count)
        if count == part.count:
            return
        kept[part.projection] = removal.kept(count)
        found = projection.fit(inputs_of(removal.kept(count), part.width))
        fitted[f"{part.projection}.weight"] = found.weight
        if found.bias is not None:
            fitted[f"{part.projection}.bias"] = found.bias

    rank_parts(model, calibration, context, fit, cache)
    return kept, fitted


def _counts(model: "PreTrainedModel", plan: LayerPlan) -> dict[str, int]:
    """Returns how many heads or channels stay of each part of the layers that stay, by the part's projection."""
    planned = {(stack, layer.layer): layer for stack, layers in plan.stacks.items() for layer in layers}
    return {
        part.projection: getattr(planned[part.stack, part.layer], part.kind)
        for part in parts_of(model)
        if (part.stack, part.layer) in planned
    }
