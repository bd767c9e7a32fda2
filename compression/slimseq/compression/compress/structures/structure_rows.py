"""What each structure of a model costs in time and is worth in loss, side by side: rows of a report and a figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from slimseq.compression.compress.structures.costs import PART_NAMES, CostTable, SizeCosts, kinds_of
from slimseq.compression.compress.structures.loss_table import LossTable
from slimseq.compression.prune.layer_plan import LayerPlan

VOCABULARY = "vocabulary"


@dataclass(frozen=True)
class StructureStep:
    """One step that makes a structure smaller, after the steps before it."""

    kept: int
    """What is left after the step: heads, channels or tokens."""
    seconds_share: float
    """The time that the step saves, as a share of the whole model's."""
    loss: float | None
    """The loss that the step adds, in nats a target token. None where it was not measured."""


@dataclass(frozen=True)
class StructurePart:
    """A part of a layer, or the vocabulary, and the steps to its smallest size."""

    name: str
    steps: tuple[StructureStep, ...]
    rest_share: float
    """The time of the smallest size, as a share of the whole model's."""

    @property
    def seconds_share(self) -> float:
        return self.rest_share + sum(step.seconds_share for step in self.steps)


@dataclass(frozen=True)
class StructureRow:
    """A layer, or the vocabulary."""

    group: str
    """`encoder`, `decoder` or `vocabulary`."""
    name: str
    parts: tuple[StructurePart, ...]
    layer_share: float | None = None
    """The time of the whole layer, as a share of the whole model's."""
    loss_without: float | None = None
    """The loss that the removal of the layer adds, after the layers that are removed before it. None for the layer that
    stays to the end."""


def structure_rows(
    whole: LayerPlan, losses: LossTable, costs: CostTable, vocabulary_losses: Mapping[int, float] | None = None
) -> list[StructureRow]:
    """Returns the rows of a model: its encoder layers, decoder layers and vocabulary.

    Args:
        whole: the plan that keeps everything.
        losses: what every part is worth.
        costs: what every part costs.
        vocabulary_losses: the loss with a number of tokens, by this number, as far as it is known.
    """
    total = costs.predict(whole).seconds
    rows = []
    for stack, layers in whole.stacks.items():
        added = {removal.layer: removal.added for removal in losses.removals.get(stack, ())}
        for layer in layers:
            parts = []
            for kind in kinds_of(layer):
                lost = losses.part(stack, layer.layer, kind)
                by_size = dict(zip(lost.kept, lost.losses, strict=True))
                parts.append(_part(PART_NAMES[kind], costs.stacks[stack].parts[kind], by_size, total))
            share = costs.layer(stack, layer).seconds / total
            rows.append(StructureRow(stack, str(layer.layer), tuple(parts), share, added.get(layer.layer)))
    if costs.vocabulary is not None:
        known = dict(vocabulary_losses or {})
        sizes = sorted({*costs.vocabulary.costs, *known}, reverse=True)
        part = _part(VOCABULARY, costs.vocabulary, {size: known.get(size) for size in sizes} | {sizes[0]: 0.0}, total)
        rows.append(StructureRow(VOCABULARY, VOCABULARY, (part,)))
    return rows


def _part(name: str, costs: SizeCosts, losses: Mapping[int, float | None], total: float) -> StructurePart:
    """Returns a part with a step between each two sizes. `losses` has the largest size first.

    Measured times are not exact, so that a smaller size may seem slower. Such a step saves nothing.
    """
    steps = []
    for larger, smaller in pairwise(losses):
        saved = max(0.0, costs.at(larger).seconds - costs.at(smaller).seconds)
        loss_before, loss = losses[larger], losses[smaller]
        added = None if loss is None or loss_before is None else max(0.0, loss - loss_before)
        steps.append(StructureStep(smaller, saved / total, added))
    rest = costs.at(min(losses)).seconds - costs.at(0).seconds
    return StructurePart(name, tuple(steps), max(0.0, rest) / total)
