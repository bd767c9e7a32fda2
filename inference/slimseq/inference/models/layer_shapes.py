"""The shape of a model whose layers have different widths, as its configuration says it.

transformers has one number of heads and one feed-forward width for all layers of a stack. Where layers differ, the key
`layer_shapes` of `config.json` has the numbers of each layer, and the keys of transformers for the same sizes have the
numbers from before the cut. A model whose layers are all of one shape has no such key: its folder is a plain one of
transformers. `slimseq.inference.models.shaped_module` makes the PyTorch module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slimseq.inference.models.architecture import Architecture, Attention, Layer, Stack
from slimseq.inference.models.bounds import FEED_FORWARD, HEAD_WIDTH, HEADS, LAYERS, Bound, shown
from slimseq.models_store.errors import BadSource

# The key of config.json.
LAYER_SHAPES = "layer_shapes"
BOUNDS = {"head_width": HEAD_WIDTH, "heads": HEADS, "cross_heads": HEADS, "feed_forward": FEED_FORWARD}


@dataclass(frozen=True)
class LayerShape:
    """The sizes of one layer."""

    heads: int | None
    """Heads of the self-attention. None for a recurrent cell, which has none."""
    cross_heads: int | None
    """Heads of the cross-attention. None in an encoder."""
    feed_forward: int
    """Channels of the feed-forward."""

    def record(self) -> dict[str, int]:
        """Returns the sizes that the layer has, by name."""
        sizes = {"heads": self.heads, "cross_heads": self.cross_heads, "feed_forward": self.feed_forward}
        return {name: size for name, size in sizes.items() if size is not None}


@dataclass(frozen=True)
class LayerShapes:
    """The sizes of all layers of a model."""

    head_width: int
    """Channels of every head."""
    encoder: tuple[LayerShape, ...]
    decoder: tuple[LayerShape, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "LayerShapes | None":
        """Returns the shapes that a configuration names, or None where all layers of a stack are of one shape.

        Raises:
            BadSource: the key `layer_shapes` is there and does not name the sizes of at least one layer of each stack,
                or a size is out of bounds.
        """
        found = config.get(LAYER_SHAPES)
        if found is None:
            return None
        if not isinstance(found, Mapping):
            raise BadSource(f"config.json: {LAYER_SHAPES} is not a mapping")
        encoder = _layers(found, "encoder", allowed={"heads", "feed_forward"})
        decoder = _layers(found, "decoder", allowed={"heads", "cross_heads", "feed_forward"})
        return cls(_size(found, "head_width", LAYER_SHAPES), encoder, decoder)

    @property
    def stacks(self) -> dict[str, tuple[LayerShape, ...]]:
        """The layers of both stacks, by the stack's name."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """All layers, in the order of `Architecture.layers`."""
        return *self.encoder, *self.decoder

    def of_layers(self, kept: Mapping[str, Sequence[int]]) -> "LayerShapes":
        """Returns the shapes of some layers, by stack."""
        encoder, decoder = (tuple(layers[index] for index in kept[name]) for name, layers in self.stacks.items())
        return replace(self, encoder=encoder, decoder=decoder)

    def applied_to(self, architecture: Architecture) -> Architecture:
        """Returns an architecture whose attentions have these numbers of heads.

        Raises:
            BadSource: the model has other layers than these, or heads of another width; or its self-attentions, which
                share a relative position bias, would have different heads.
        """
        encoder, decoder = (self._applied_to_stack(stack, self.stacks[stack.name]) for stack in architecture.stacks)
        return replace(architecture, encoder=encoder, decoder=decoder)

    def _applied_to_stack(self, stack: Stack, shapes: Sequence[LayerShape]) -> Stack:
        if len(shapes) != len(stack.layers):
            raise BadSource(
                f"config.json: {LAYER_SHAPES} has {len(shapes)} layers of the {stack.name}, which has "
                f"{len(stack.layers)}"
            )
        layers = []
        for number, (layer, shape) in enumerate(zip(stack.layers, shapes, strict=True)):
            layers.append(self._applied_to_layer(layer, shape, f"{LAYER_SHAPES}.{stack.name}[{number}]"))
        self_heads = {shape.heads for shape in shapes}
        if stack.shares_position_bias and len(self_heads) > 1:
            raise BadSource(
                f"config.json: {LAYER_SHAPES}: all self-attentions of the {stack.name} share one relative position "
                "bias, so that their numbers of heads must be equal"
            )
        return replace(stack, layers=tuple(layers))

    def _applied_to_layer(self, layer: Layer, shape: LayerShape, place: str) -> Layer:
        own, cross = layer.self_attention, layer.cross_attention
        is_attention = isinstance(own, Attention)
        if is_attention != (shape.heads is not None) or (cross is not None) != (shape.cross_heads is not None):
            raise BadSource(f"config.json: {place} does not have the attentions of {layer.name}")
        if isinstance(own, Attention) and shape.heads is not None:
            layer = replace(layer, self_attention=self._applied_to_attention(own, shape.heads))
        if cross is not None and shape.cross_heads is not None:
            layer = replace(layer, cross_attention=self._applied_to_attention(cross, shape.cross_heads))
        return layer

    def _applied_to_attention(self, attention: Attention, count: int) -> Attention:
        if self.head_width != attention.heads.width:
            raise BadSource(
                f"config.json: {LAYER_SHAPES}.head_width is {self.head_width}, and a head of the model has "
                f"{attention.heads.width} channels"
            )
        return replace(attention, heads=replace(attention.heads, count=count))

    def record(self) -> dict[str, Any]:
        """Returns the value of the key `layer_shapes`."""
        return {
            "head_width": self.head_width,
            "encoder": [layer.record() for layer in self.encoder],
            "decoder": [layer.record() for layer in self.decoder],
        }


def _layers(shapes: Mapping[str, Any], stack: str, allowed: set[str]) -> tuple[LayerShape, ...]:
    rows = shapes.get(stack)
    if not isinstance(rows, list) or not 1 <= len(rows) <= LAYERS.most:
        raise BadSource(f"config.json: {LAYER_SHAPES}.{stack} is not a list of 1 to {LAYERS.most} layers")
    layers = []
    for index, row in enumerate(rows):
        place = f"{LAYER_SHAPES}.{stack}[{index}]"
        if not isinstance(row, Mapping) or not row.keys() <= allowed:
            raise BadSource(f"config.json: {place} does not have only {', '.join(sorted(allowed))}")
        sizes = {name: _size(row, name, place) if name in row else None for name in ("heads", "cross_heads")}
        layers.append(LayerShape(sizes["heads"], sizes["cross_heads"], _size(row, "feed_forward", place)))
    return tuple(layers)


def _size(row: Mapping[str, Any], name: str, place: str) -> int:
    size = row.get(name)
    bound: Bound = BOUNDS[name]
    if not isinstance(size, int) or isinstance(size, bool) or not bound.least <= size <= bound.most:
        raise BadSource(
            f"config.json: {place}.{name} is {shown(size)}, not a whole number from {bound.least} to {bound.most:,}"
        )
    return size
