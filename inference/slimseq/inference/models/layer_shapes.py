"""The shape of a model whose layers have different widths, as its configuration says it.

transformers has one number of heads and one feed-forward width for all layers of a stack. Where layers differ, the key
`layer_shapes` of `config.json` has the numbers of each layer. A model whose layers are all of one shape has no such
key: its folder is a plain one of transformers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimseq.models_store.errors import BadSource

# The key of config.json.
LAYER_SHAPES = "layer_shapes"


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
            BadSource: the key `layer_shapes` is there and does not name the sizes of at least one layer of each stack.
        """
        found = config.get(LAYER_SHAPES)
        if found is None:
            return None
        if not isinstance(found, Mapping):
            raise BadSource(f"config.json: {LAYER_SHAPES} is not a mapping")
        encoder = _layers(found, "encoder", allowed={"heads", "feed_forward"})
        decoder = _layers(found, "decoder", allowed={"heads", "cross_heads", "feed_forward"})
        return cls(_size(found, "head_width", LAYER_SHAPES), encoder, decoder)

    def record(self) -> dict[str, Any]:
        """Returns the value of the key `layer_shapes`."""
        return {
            "head_width": self.head_width,
            "encoder": [layer.record() for layer in self.encoder],
            "decoder": [layer.record() for layer in self.decoder],
        }


def _layers(shapes: Mapping[str, Any], stack: str, allowed: set[str]) -> tuple[LayerShape, ...]:
    rows = shapes.get(stack)
    if not isinstance(rows, list) or not rows:
        raise BadSource(f"config.json: {LAYER_SHAPES}.{stack} is not a list of at least one layer")
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
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise BadSource(f"config.json: {place}.{name} is not a number from 1")
    return size
