"""The sizes of a model's layers, and the configuration that says them.

transformers' own keys say the sizes of a model whose layers have one shape a stack, as far as the family has such keys.
The key `layer_shapes` says all others (`slimseq.inference.models.layer_shapes`).
"""

from typing import TYPE_CHECKING, Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, family_of_model, feed_forward_channels
from slimseq.inference.models.architecture import Architecture, Attention, Layer
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.models.layer_shapes import LAYER_SHAPES, LayerShape, LayerShapes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def is_varied(model: "PreTrainedModel") -> bool:
    """Whether transformers' own keys do not say the sizes of a model's layers."""
    return getattr(model.config, LAYER_SHAPES, None) is not None


def shapes_of(model: "PreTrainedModel") -> LayerShapes:
    """Returns the sizes of all layers.

    Raises:
        BadParameters: heads of the two stacks have different widths.
    """
    architecture = architecture_of_model(model)
    widths = {attention.heads.width for stack in architecture.stacks for attention in stack.attentions}
    if len(widths) > 1:
        raise BadParameters(
            f"heads are {' and '.join(map(str, sorted(widths)))} channels wide in this model; a plan needs one width"
        )
    encoder, decoder = (tuple(_shape_of_layer(model, layer) for layer in stack.layers) for stack in architecture.stacks)
    return LayerShapes(widths.pop(), encoder, decoder)


def _shape_of_layer(model: "PreTrainedModel", layer: Layer) -> LayerShape:
    own, cross = layer.self_attention, layer.cross_attention
    return LayerShape(
        heads=own.heads.count if isinstance(own, Attention) else None,
        cross_heads=None if cross is None else cross.heads.count,
        feed_forward=feed_forward_channels(model, layer),
    )


def shape_changes(model: "PreTrainedModel", shapes: LayerShapes) -> dict[str, Any]:
    """Returns the configuration keys that change for a model whose layers get these sizes.

    They are keys of transformers if these can say the sizes, and then `layer_shapes` is None. Else `layer_shapes` has
    the sizes, and the keys of transformers for sizes of layers stay as they are.
    """
    family = family_of_model(model)
    counts = family.resized(encoder_layers=len(shapes.encoder), decoder_layers=len(shapes.decoder))
    sizes = _sizes_for_transformers(family, architecture_of_model(model), shapes)
    if sizes is None:
        return {**counts, LAYER_SHAPES: shapes.record()}
    return {**counts, **family.resized(**sizes), LAYER_SHAPES: None}


def _sizes_for_transformers(
    family: ModelFamily, architecture: Architecture, shapes: LayerShapes
) -> dict[str, int] | None:
    """Returns sizes by the names of `ModelFamily.size_keys`, or None where the keys of a family cannot say them."""
    heads = {count for layer in shapes.layers for count in (layer.heads, layer.cross_heads) if count is not None}
    sizes: dict[str, int] = {}
    if family.has_own_head_width:
        if len(heads) > 1:
            return None
        sizes["heads"] = heads.pop()
    elif heads != {architecture.width // shapes.head_width}:
        # transformers computes the number of heads, or their width, from the width of the model.
        return None
    widths = {stack: {layer.feed_forward for layer in layers} for stack, layers in shapes.stacks.items()}
    if any(len(found) > 1 for found in widths.values()):
        return None
    if family.has_one_feed_forward_width and widths["encoder"] != widths["decoder"]:
        return None
    for stack, found in widths.items():
        sizes[f"{stack}_feed_forward"] = found.pop()
    return sizes
