"""What each part of a model is worth: the divergence from the model's own outputs that a cut of this part causes.

`losses` measures the table, and `shape_search` reads it. Losses are in nats a target token: the mean of
KL(original || cut) over the target tokens of held-out pairs. The table knows nothing of torch.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.model_parts import PartKind

# Shares of the feed-forward channels that the levels of a feed-forward keep.
FEED_FORWARD_LEVELS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)
# Attentions with more heads than this have this many levels, evenly spaced. Others have a level for each head.
HEAD_LEVELS = 8


def levels_of(kind: PartKind, count: int) -> list[int]:
    """Returns how many heads or channels of `count` the levels of a part keep, from all of them down."""
    if kind == "feed_forward":
        kept = {max(1, round(count * share)) for share in FEED_FORWARD_LEVELS}
    else:
        steps = min(count, HEAD_LEVELS)
        kept = {max(1, round(count * step / steps)) for step in range(1, steps + 1)}
    return sorted(kept, reverse=True)


@dataclass(frozen=True)
class PartLoss:
    """The loss of one part at each of its levels, while the rest of the model is whole."""

    stack: str
    """`encoder` or `decoder`."""
    layer: int
    """Index of the layer in its stack, from 0."""
    kind: PartKind
    kept: tuple[int, ...]
    """Heads or channels that each level keeps, from all of them down."""
    errors: tuple[float, ...]
    """Squared error of the part's output at each level, relative to the squared output, after the fit."""
    losses: tuple[float, ...]
    """Divergence at each level, in nats a target token. It never falls from a level to the next."""

    def loss(self, kept: int) -> float:
        """Returns the loss with some number of heads or channels. Between levels it is interpolated linearly.

        Raises:
            BadParameters: the part has fewer, or the number is below the lowest level.
        """
        if not self.kept[-1] <= kept <= self.kept[0]:
            raise BadParameters(
                f"the losses of {self.stack} layer {self.layer} are known for {self.kept[-1]} to {self.kept[0]} "
                f"{self.kind}, not for {kept}"
            )
        ascending, losses = self.kept[::-1], self.losses[::-1]
        above = bisect_left(ascending, kept)
        if ascending[above] == kept:
            return losses[above]
        below = above - 1
        share = (kept - ascending[below]) / (ascending[above] - ascending[below])
        return losses[below] + share * (losses[above] - losses[below])


@dataclass(frozen=True)
class LayerLoss:
    """The loss of removing one whole layer, after all layers that are removed before it."""

    layer: int
    """Index of the layer in its stack, from 0."""
    loss: float
    """Divergence without this layer and those removed before it, in nats a target token."""
    added: float
    """By how much the divergence rises when this layer goes too, at least 0."""


@dataclass(frozen=True)
class LossTable:
    """The losses of all parts and layers of one model.

    Losses of parts are measured one at a time. Their sum is an estimate for a model that is cut in several places.
    """

    parts: tuple[PartLoss, ...]
    removals: Mapping[str, tuple[LayerLoss, ...]]
    """Layers in the order in which they are best removed, by stack. The last layer of a stack is never removed."""
    shared_heads: tuple[str, ...]
    """Stacks whose self-attentions keep the same heads in all layers, since they share a relative position bias."""
    tokens: int
    """Target tokens on which the losses were measured."""

    def part(self, stack: str, layer: int, kind: PartKind) -> PartLoss:
        """Returns the losses of a part, or raises BadParameters if the model has none such."""
        for part in self.parts:
            if (part.stack, part.layer, part.kind) == (stack, layer, kind):
                return part
        raise BadParameters(f"the model has no {kind} in {stack} layer {layer}")

    def record(self) -> dict[str, Any]:
        """Returns the table as JSON values, such as a run's folder keeps."""
        return {
            "tokens": self.tokens,
            "shared_heads": list(self.shared_heads),
            "parts": [
                {
                    "stack": part.stack,
                    "layer": part.layer,
                    "kind": part.kind,
                    "kept": list(part.kept),
                    "errors": list(part.errors),
                    "losses": list(part.losses),
                }
                for part in self.parts
            ],
            "removals": {
                stack: [{"layer": each.layer, "loss": each.loss, "added": each.added} for each in removed]
                for stack, removed in self.removals.items()
            },
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "LossTable":
        """Reads what `record` returned.

        Raises:
            BadParameters: it is no such table.
        """
        try:
            return cls(
                parts=tuple(_part_from(row) for row in record["parts"]),
                removals={
                    str(stack): tuple(
                        LayerLoss(int(row["layer"]), float(row["loss"]), float(row["added"])) for row in rows
                    )
                    for stack, rows in record["removals"].items()
                },
                shared_heads=tuple(map(str, record["shared_heads"])),
                tokens=int(record["tokens"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadParameters(f"this is no table of losses: {error!r}") from error


def _part_from(row: Mapping[str, Any]) -> PartLoss:
    kind = row["kind"]
    if kind not in get_args(PartKind):
        raise ValueError(f"{kind!r} is no kind of part")
    part = PartLoss(
        stack=str(row["stack"]),
        layer=int(row["layer"]),
        kind=cast(PartKind, kind),
        kept=tuple(map(int, row["kept"])),
        errors=tuple(map(float, row["errors"])),
        losses=tuple(map(float, row["losses"])),
    )
    if not part.kept or not len(part.kept) == len(part.errors) == len(part.losses):
        raise ValueError(f"the levels of {part.stack} layer {part.layer} have unequal numbers of losses")
    return part
