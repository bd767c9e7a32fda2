"""What is left of each layer of a model: the plan of a cut to layers of different widths.

A plan names the layers that stay, by their index in the model before the cut, and the sizes of each. `compress` finds
plans. A recipe's `prune` step repeats one (`plan`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.model_shapes import shapes_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STACKS = ("encoder", "decoder")


@dataclass(frozen=True)
class PlannedLayer:
    """One layer that stays, and its sizes after the cut."""

    layer: int
    """Index of the layer in its stack before the cut, from 0."""
    heads: int | None
    """Heads of the self-attention. None for a recurrent cell."""
    cross_heads: int | None
    """Heads of the cross-attention. None in an encoder."""
    feed_forward: int
    """Channels of the feed-forward."""

    def record(self) -> dict[str, int]:
        sizes = {
            "layer": self.layer,
            "heads": self.heads,
            "cross_heads": self.cross_heads,
            "feed_forward": self.feed_forward,
        }
        return {name: size for name, size in sizes.items() if size is not None}


@dataclass(frozen=True)
class LayerPlan:
    """The layers of both stacks that stay, in ascending order."""

    encoder: tuple[PlannedLayer, ...]
    decoder: tuple[PlannedLayer, ...]

    @property
    def stacks(self) -> dict[str, tuple[PlannedLayer, ...]]:
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def kept(self) -> dict[str, list[int]]:
        """The indices of the layers that stay, by stack."""
        return {stack: [layer.layer for layer in layers] for stack, layers in self.stacks.items()}

    def record(self) -> dict[str, list[dict[str, int]]]:
        """Returns the plan as a recipe has it."""
        return {stack: [layer.record() for layer in layers] for stack, layers in self.stacks.items()}

    def words(self, whole: "LayerPlan") -> list[str]:
        """Returns what is left of each size that the plan of the whole model has more of, summed over layers."""
        words = []
        for stack, layers in self.stacks.items():
            whole_layers = whole.stacks[stack]
            counts = {
                f"{stack} layers": (len(layers), len(whole_layers)),
                f"attention heads in the {stack}": (_total_heads(layers), _total_heads(whole_layers)),
                f"feed-forward channels in the {stack}": (_total_channels(layers), _total_channels(whole_layers)),
            }
            words += [f"{own:,} of {all_:,} {noun}" for noun, (own, all_) in counts.items() if own != all_]
        return words

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "LayerPlan":
        """Reads a plan from a recipe.

        Raises:
            BadParameters: it is no plan.
        """
        if not isinstance(record, Mapping) or record.keys() != set(STACKS):
            raise BadParameters("a plan has the layers of `encoder` and of `decoder`")
        return cls(*(_planned_layers(record[stack], stack) for stack in STACKS))


def _total_heads(layers: tuple[PlannedLayer, ...]) -> int:
    return sum((layer.heads or 0) + (layer.cross_heads or 0) for layer in layers)


def _total_channels(layers: tuple[PlannedLayer, ...]) -> int:
    return sum(layer.feed_forward for layer in layers)


def _planned_layers(rows: Any, stack: str) -> tuple[PlannedLayer, ...]:
    if not isinstance(rows, list) or not rows:
        raise BadParameters(f"the plan's {stack} is not a list of at least one layer")
    layers = []
    for index, row in enumerate(rows):
        names = {"layer", "heads", "cross_heads", "feed_forward"}
        is_plain = isinstance(row, Mapping) and row.keys() <= names and {"layer", "feed_forward"} <= row.keys()
        if not is_plain or not all(_is_size(value) for value in row.values()):
            raise BadParameters(
                f"the plan's {stack}[{index}] is not a layer with its sizes, such as "
                "{layer: 0, heads: 8, feed_forward: 512}"
            )
        layers.append(PlannedLayer(row["layer"], row.get("heads"), row.get("cross_heads"), row["feed_forward"]))
    return tuple(layers)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def whole_plan(model: "PreTrainedModel") -> LayerPlan:
    """Returns the plan that keeps everything of a model."""
    planned = {
        stack: tuple(
            PlannedLayer(index, shape.heads, shape.cross_heads, shape.feed_forward)
            for index, shape in enumerate(shapes)
        )
        for stack, shapes in shapes_of(model).stacks.items()
    }
    return LayerPlan(**planned)


def check_plan(model: "PreTrainedModel", plan: LayerPlan) -> None:
    """Checks that a model can be cut to a plan.

    Raises:
        BadParameters: a layer is not there, is named twice or out of order, a size is below 1 or above the model's, or
            layers that share a relative position bias keep different numbers of self-attention heads.
    """
    whole = whole_plan(model)
    for name, layers in plan.stacks.items():
        _check_layers(name, layers, whole.stacks[name])
    for stack in architecture_of_model(model).stacks:
        heads = {layer.heads for layer in plan.stacks[stack.name]}
        if stack.shares_position_bias and len(heads) > 1:
            raise BadParameters(
                f"the plan's {stack.name} layers keep {', '.join(map(str, sorted(heads, key=str)))} self-attention "
                "heads; they share one relative position bias, so that all of them keep the same number"
            )


def _check_layers(stack: str, layers: tuple[PlannedLayer, ...], whole: tuple[PlannedLayer, ...]) -> None:
    indices = [layer.layer for layer in layers]
    if indices != sorted(set(indices)) or indices[-1] >= len(whole):
        raise BadParameters(
            f"the plan's {stack} names the layers {indices}; they are from 0 to {len(whole) - 1}, ascending, each once"
        )
    for layer in layers:
        _check_sizes(stack, layer, whole[layer.layer])


def _check_sizes(stack: str, layer: PlannedLayer, whole: PlannedLayer) -> None:
    for name in ("heads", "cross_heads", "feed_forward"):
        wanted, present = getattr(layer, name), getattr(whole, name)
        if (wanted is None) != (present is None) or (wanted is not None and not 1 <= wanted <= present):
            raise BadParameters(f"the plan's {stack} layer {layer.layer} keeps {wanted} of {present} {name}")
