"""Measures what every structure of a model costs, on the engine that will serve it.

The whole model and cuts of it are timed, each cut in turns with the whole model. A cut makes one kind of structure
smaller in all layers of a stack. The difference to the whole model, divided by the number of layers, is the cost of the
structure in one layer. Structures that there was no time to measure get a share of the measured time, by their weights.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from slimseq.compression.artifacts.parent import Parent
from slimseq.compression.compress.structures.cost_bench import CostBench, Relative
from slimseq.compression.compress.structures.costs import (
    PART_NAMES,
    Cost,
    CostTable,
    LayerCosts,
    SizeCosts,
    kinds_of,
    largest_layers,
)
from slimseq.compression.compress.structures.timed_model import Workload
from slimseq.compression.compress.structures.weight_costs import WeightCosts
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import STACKS, LayerPlan, PlannedLayer, whole_plan
from slimseq.compression.prune.model_parts import PartKind

# The sizes that are measured, as shares of the whole, the most important first.
MEASURED_SHARES = (0.125, 0.5, 0.25, 0.75)
# A cut is expected to take at most so many times as long as the slowest one before it.
CAUTION = 1.2
BOTH = ("encoder", "decoder")


@dataclass(frozen=True)
class Reading:
    """What a cut tells: the cost of a size of one kind of part, or of a number of layers, in all layers of a stack."""

    stack: str
    kind: PartKind | None
    """None for the number of layers."""
    size: int
    sides: tuple[str, ...]
    """The stacks whose graphs the size changes. The keys and values of cross-attentions are in the encoder's graph."""


@dataclass(frozen=True)
class Cut:
    """A cut of the whole model to time. A cut of the vocabulary has no plan."""

    name: str
    plan: LayerPlan | None = None
    readings: tuple[Reading, ...] = ()


def cuts_of(whole: LayerPlan) -> list[Cut]:
    """Returns the cuts to measure for a model, the most important first.

    One cut has the encoder's and the decoder's feed-forwards, since each changes another graph. So have the heads of
    self-attentions.
    """
    cuts = [_layer_cut(whole, stack) for stack in reversed(STACKS) if len(whole.stacks[stack]) > 1]
    for position, share in enumerate(MEASURED_SHARES):
        for kind in ("feed_forward", "heads", "cross_heads"):
            cut = _size_cut(whole, kind, share)
            if cut is not None and cut.plan not in [each.plan for each in cuts]:
                cuts.append(cut)
        if position == 0:
            cuts.append(Cut("vocabulary"))
    return cuts


def _layer_cut(whole: LayerPlan, stack: str) -> Cut:
    sides = BOTH if stack == "decoder" else (stack,)
    plan = replace(whole, **{stack: whole.stacks[stack][:1]})
    return Cut(f"{stack} layers", plan, (Reading(stack, None, 1, sides),))


def _size_cut(whole: LayerPlan, kind: PartKind, share: float) -> Cut | None:
    """Returns the cut of a kind of part to a share of its size in all layers. None if nothing would be cut."""
    changes, readings = {}, []
    for stack, largest in largest_layers(whole).items():
        present = getattr(largest, kind)
        if present is None:
            continue
        size = max(1, round(present * share))
        if size == present:
            continue
        changes[stack] = tuple(
            replace(layer, **{kind: max(1, round(getattr(layer, kind) * share))}) for layer in whole.stacks[stack]
        )
        readings.append(Reading(stack, kind, size, BOTH if kind == "cross_heads" else (stack,)))
    if not readings:
        return None
    name = kind.replace("_", " ")
    return Cut(f"{name}: {share:.0%}", replace(whole, **changes), tuple(readings))


def measure_costs(
    context: Context, parent: Parent, workload: Workload, seconds: float, texts: Sequence[str] = ()
) -> CostTable:
    """Measures the costs of a model's structures within a time.

    The most important cuts come first. A cut is left out if it would probably not end in time. The whole model is
    always measured.

    Args:
        context: for the progress display.
        parent: the whole model, on the CPU.
        workload: texts and search.
        seconds: the time. One export of the model and one text are made even if they take longer.
        texts: inputs with their prefix, and outputs, whose tokens a smaller vocabulary has. Without them the vocabulary
            is not measured.

    Raises:
        BadSource: the model cannot be exported.
    """
    deadline = time.monotonic() + seconds
    whole = whole_plan(parent.model)
    cuts = [cut for cut in cuts_of(whole) if cut.plan is not None or texts]
    found: list[tuple[Reading, Relative]] = []
    vocabulary: Relative | None = None
    with context.progress() as progress:
        bar = progress.add_task("Measuring costs", total=len(cuts) + 1, status="whole model")
        started = time.monotonic()
        with CostBench.open(parent, workload, seconds) as bench:
            slowest = time.monotonic() - started
            for cut in cuts:
                progress.update(bar, advance=1, status=cut.name)
                started = time.monotonic()
                if started + CAUTION * slowest > deadline:
                    break
                try:
                    if cut.plan is None:
                        vocabulary = bench.measure_vocabulary(context, texts)
                    else:
                        relative = bench.measure(cut.plan)
                        found += [(reading, relative) for reading in cut.readings]
                except BadParameters:
                    # Such as a model whose vocabulary cannot be cut.
                    continue
                slowest = max(slowest, time.monotonic() - started)
            whole_costs = bench.whole_costs()
        progress.update(bar, completed=len(cuts) + 1, status="done")
    return _table(parent, whole, whole_costs, found, vocabulary)


def _table(
    parent: Parent,
    whole: LayerPlan,
    whole_costs: Mapping[str, Cost],
    found: Sequence[tuple[Reading, Relative]],
    vocabulary: Relative | None,
) -> CostTable:
    weights = WeightCosts(parent.model, {side: cost.seconds for side, cost in whole_costs.items()})
    differences = {
        (reading.stack, reading.kind, reading.size): relative.difference(whole_costs, reading.sides)
        for reading, relative in found
    }
    estimated: list[str] = []
    stacks: dict[str, LayerCosts] = {}
    for stack, largest in largest_layers(whole).items():
        parts: dict[str, SizeCosts] = {}
        for kind in kinds_of(largest):
            costs = _costs_without(stack, whole.stacks[stack], kind, differences)
            if not costs:
                estimated.append(f"{stack} {PART_NAMES[kind]}")
                costs = {0: weights.part(stack, kind) * -1}
            parts[kind] = SizeCosts({**costs, getattr(largest, kind): Cost()})
        layer_cost = weights.layer(stack)
        difference = differences.get((stack, None, 1))
        if difference is None:
            estimated.append(f"{stack} layers")
        else:
            # Removed layers that are smaller than the largest cost less.
            removed = whole.stacks[stack][1:]
            without_parts = LayerCosts(Cost(), parts)
            smaller = sum((without_parts.difference(layer) for layer in removed), Cost())
            layer_cost = (difference + smaller) * (-1 / len(removed))
        stacks[stack] = LayerCosts(layer_cost, parts)
    tokens = None
    if vocabulary is not None:
        saved = vocabulary.difference(whole_costs, BOTH)
        tokens = SizeCosts({vocabulary.tokens: saved, parent.model.config.vocab_size: Cost()})
    layers_cost = CostTable(Cost(), stacks).predict(whole)
    return CostTable(sum(whole_costs.values(), Cost()) - layers_cost, stacks, tokens, tuple(estimated))


def _costs_without(
    stack: str,
    layers: Sequence[PlannedLayer],
    kind: PartKind,
    differences: Mapping[tuple[str, PartKind | None, int], Cost],
) -> dict[int, Cost]:
    """Returns the relative cost of the largest layer without a kind of part, by its size 0. Empty if unmeasured.

    The cuts made the part smaller in all layers. A larger layer has a larger share of the difference.
    """
    sizes = [getattr(layer, kind) for layer in layers]
    largest = max(sizes)
    share = largest / sum(sizes)
    measured = {
        size: difference * share
        for (of_stack, of_kind, size), difference in differences.items()
        if of_stack == stack and of_kind == kind
    }
    if not measured:
        return {}
    # The line through the whole size that is closest to all measured sizes: times of single cuts are too inexact.
    removed = {size: largest - size for size in measured}
    slope = sum((measured[size] * removed[size] for size in measured), Cost()) * (
        1 / sum(count**2 for count in removed.values())
    )
    return {0: slope * largest}
