"""What every structure of a model costs: seconds of one text, and bytes.

A `CostTable` predicts the time and the size of a whole variant as a sum over its structures. `cost_measurement` makes
the table from measurements on the engine that serves. `shape_search` looks for the shape with the smallest loss at a
cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Self

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import STACKS, LayerPlan, PlannedLayer
from slimseq.compression.prune.model_parts import PartKind

# The sizes of a layer: the fields of `PlannedLayer` that a plan can make smaller.
PARTS: Final[tuple[PartKind, ...]] = ("heads", "cross_heads", "feed_forward")
PART_NAMES: Final[dict[PartKind, str]] = {
    "heads": "self-attention",
    "cross_heads": "cross-attention",
    "feed_forward": "feed-forward",
}


def kinds_of(layer: PlannedLayer) -> list[PartKind]:
    """Returns the kinds of parts that a layer has."""
    return [kind for kind in PARTS if getattr(layer, kind) is not None]


def largest_layers(whole: LayerPlan) -> dict[str, PlannedLayer]:
    """Returns a layer with the largest of each size that a layer has, by stack."""
    found = {}
    for stack, layers in whole.stacks.items():
        sizes = {kind: max(getattr(layer, kind) for layer in layers) for kind in kinds_of(layers[0])}
        found[stack] = replace(layers[0], **sizes)
    return found


@dataclass(frozen=True)
class Cost:
    """Seconds of one text, from the encoder's start to the last token, and bytes on the disk."""

    seconds: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.bytes + other.bytes)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds - other.seconds, self.bytes - other.bytes)

    def __mul__(self, factor: float) -> "Cost":
        return Cost(self.seconds * factor, self.bytes * factor)

    def record(self) -> list[float]:
        return [self.seconds, self.bytes]


@dataclass(frozen=True)
class SizeCosts:
    """What one part costs at several sizes, relative to its largest size: such as the feed-forward of one layer.

    Args:
        costs: the costs by size. That of the largest size is nothing, and smaller sizes cost less than nothing.
    """

    costs: Mapping[int, Cost]

    def at(self, size: int) -> Cost:
        """Returns the cost at a size. Between two measured sizes, and beyond them, the cost is linear."""
        if size in self.costs:
            return self.costs[size]
        sizes = sorted(self.costs)
        if len(sizes) == 1:
            return self.costs[sizes[0]]
        # The pair of measured sizes around the size, or the nearest pair.
        low, high = next((pair for pair in pairwise(sizes) if size < pair[1]), (sizes[-2], sizes[-1]))
        share = (size - low) / (high - low)
        return self.costs[low] * (1 - share) + self.costs[high] * share

    def record(self) -> dict[str, list[float]]:
        return {str(size): cost.record() for size, cost in sorted(self.costs.items())}

    @classmethod
    def from_record(cls, record: Mapping[str, Sequence[float]]) -> Self:
        return cls({int(size): Cost(*cost) for size, cost in record.items()})


@dataclass(frozen=True)
class LayerCosts:
    """What a layer of one stack costs.

    Args:
        whole: the cost of a layer with the largest sizes that layers of the whole model have. For the decoder it has
            the keys and values of the cross-attention, which the encoder's graph computes.
        parts: the relative costs of sizes of a layer, by the name of the size. A size that is missing costs the same
            whatever it is.
    """

    whole: Cost
    parts: Mapping[str, SizeCosts]

    def at(self, layer: PlannedLayer) -> Cost:
        """Returns the cost of a planned layer. No layer costs less than nothing."""
        cost = self.whole + self.difference(layer)
        return Cost(max(cost.seconds, 0.0), max(cost.bytes, 0.0))

    def difference(self, layer: PlannedLayer) -> Cost:
        """Returns what a planned layer costs more than the largest. It is usually below nothing."""
        cost = Cost()
        for name, sizes in self.parts.items():
            size = getattr(layer, name)
            if size is not None:
                cost += sizes.at(size)
        return cost

    def record(self) -> dict[str, Any]:
        return {"whole": self.whole.record(), "parts": {name: sizes.record() for name, sizes in self.parts.items()}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        parts = {name: SizeCosts.from_record(sizes) for name, sizes in record["parts"].items()}
        return cls(Cost(*record["whole"]), parts)


@dataclass(frozen=True)
class CostTable:
    """The costs of a model's structures on this machine, for the texts and the search of one user.

    Args:
        base: the cost of all that is outside of layers.
        stacks: the costs of layers, by stack.
        vocabulary: the relative costs of numbers of tokens. None where the vocabulary cannot be cut.
        estimated: the names of structures that were not measured. Their costs are shares of the measured time, by the
            number of their weights.
    """

    base: Cost
    stacks: Mapping[str, LayerCosts]
    vocabulary: SizeCosts | None = None
    estimated: tuple[str, ...] = field(default=())

    def layer(self, stack: str, layer: PlannedLayer) -> Cost:
        """Returns what one layer of a plan costs."""
        return self.stacks[stack].at(layer)

    def predict(self, plan: LayerPlan, tokens: int | None = None) -> Cost:
        """Returns the cost of a variant with the layers of a plan, and with a number of tokens. By default all."""
        cost = self.base
        if tokens is not None and self.vocabulary is not None:
            cost += self.vocabulary.at(tokens)
        for stack, layers in plan.stacks.items():
            for layer in layers:
                cost += self.layer(stack, layer)
        return cost

    def record(self) -> dict[str, Any]:
        """Returns the table as JSON has it."""
        return {
            "base": self.base.record(),
            "stacks": {stack: layers.record() for stack, layers in self.stacks.items()},
            "vocabulary": None if self.vocabulary is None else self.vocabulary.record(),
            "estimated": list(self.estimated),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Reads a table from JSON.

        Raises:
            BadParameters: it is no table of costs.
        """
        try:
            vocabulary = record["vocabulary"]
            return cls(
                base=Cost(*record["base"]),
                stacks={stack: LayerCosts.from_record(record["stacks"][stack]) for stack in STACKS},
                vocabulary=None if vocabulary is None else SizeCosts.from_record(vocabulary),
                estimated=tuple(record["estimated"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadParameters(f"this is no table of costs: {error!r}") from error
