"""The PyTorch modules of models whose layers have different widths: transformers' own, with resized parts.

A class of transformers gives all layers of a stack the same sizes. `shaped` returns a subclass whose layers have the
sizes of `layer_shapes` in the configuration. All else of the class stays: its forward pass, `generate`, and
`from_pretrained`. `slimseq.inference.models.pretrained.load_pretrained` finds the class for a folder.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from slimseq.inference.models.architecture import Attention, FeedForward
from slimseq.inference.models.layer_shapes import LAYER_SHAPES, LayerShapes
from slimseq.inference.models.registry import architecture_of
from slimseq.inference.models.safetensors_reader import Floats

# Before the name of a class of transformers, in `architectures` of a configuration.
PREFIX = "Shaped"
# The attributes in which modules of attention keep their number of heads: of BART and related models, of T5, and of
# Marian students.
HEAD_COUNTS = ("num_heads", "n_heads", "heads")
# The attribute of a T5's attention with the channels of all heads.
INNER_WIDTH = "inner_dim"
# The classes that `shaped` made, by the class of transformers.
_SHAPED: dict[type[PreTrainedModel], type[PreTrainedModel]] = {}


def class_for(kind: type[PreTrainedModel], config: Any) -> type[PreTrainedModel]:
    """Returns the class for a configuration: the subclass where it has `layer_shapes`, else that of transformers."""
    plain = plain_class(kind)
    return plain if getattr(config, LAYER_SHAPES, None) is None else shaped(plain)


def plain_class(kind: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Returns the class of transformers that a class of `shaped` was made from. Other classes are returned as is."""
    return kind.__bases__[0] if kind.__module__ == __name__ else kind


def shaped(kind: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Returns a subclass of a class for conditional generation, for configurations with `layer_shapes`.

    Each call returns the same class.

    Raises:
        BadSource: its constructor raises it where `layer_shapes` does not fit the model.
    """
    if kind in _SHAPED:
        return _SHAPED[kind]

    class Shaped(kind):  # type: ignore[misc, valid-type]
        def __init__(self, config: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(config, *arguments, **options)
            _resize(self)

    Shaped.__name__ = Shaped.__qualname__ = f"{PREFIX}{kind.__name__}"
    _SHAPED[kind] = Shaped
    return Shaped


def _resize(model: PreTrainedModel) -> None:
    """Gives the parts of a new model the sizes that its configuration names. Resized parts have new weights."""
    config = model.config.to_dict()
    shapes = LayerShapes.from_config(config)
    if shapes is None:
        return
    architecture = architecture_of(config, _TensorNames(model))
    for layer, shape in zip(architecture.layers, shapes.layers, strict=True):
        for attention in layer.attentions:
            _resize_attention(model, attention)
        if layer.cross_attention is not None:
            _module_of(model, layer.cross_attention).register_forward_pre_hook(_without_shared_bias, with_kwargs=True)
        _resize_feed_forward(model, layer.feed_forward, shape.feed_forward)


def _resize_attention(model: nn.Module, attention: Attention) -> None:
    heads = attention.heads
    for name in (attention.query, attention.key, attention.value):
        _resize_linear(model, name, outputs=heads.count * heads.width)
    _resize_linear(model, attention.output, inputs=heads.count * heads.width)
    module = _module_of(model, attention)
    for name in HEAD_COUNTS:
        if hasattr(module, name):
            setattr(module, name, heads.count)
    if hasattr(module, INNER_WIDTH):
        module.inner_dim = heads.count * heads.width
    if attention.position_bias is not None:
        table: Any = model.get_submodule(attention.position_bias)
        kwargs = {"device": table.weight.device, "dtype": table.weight.dtype}
        _replace(model, attention.position_bias, nn.Embedding(table.num_embeddings, heads.count, **kwargs))


def _module_of(model: nn.Module, attention: Attention) -> Any:
    """Returns the module that has an attention's projections."""
    return model.get_submodule(attention.output.rpartition(".")[0])


def _without_shared_bias(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Lets the cross-attention of a T5 compute the bias of its scores itself.

    The bias is nothing but the mask of padding. transformers takes that of the first layer for all layers, with as many
    heads as the first layer has.
    """
    if "position_bias" in named:
        named = named | {"position_bias": None}
    return inputs, named


def _resize_feed_forward(model: nn.Module, part: FeedForward, channels: int) -> None:
    for name in part.up:
        _resize_linear(model, name, outputs=channels)
    _resize_linear(model, part.down, inputs=channels)


def _resize_linear(model: nn.Module, name: str, inputs: int | None = None, outputs: int | None = None) -> None:
    old: Any = model.get_submodule(name)
    inputs, outputs = inputs or old.in_features, outputs or old.out_features
    if (inputs, outputs) == (old.in_features, old.out_features):
        return
    weight = old.weight
    _replace(model, name, nn.Linear(inputs, outputs, old.bias is not None, weight.device, weight.dtype))


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


class _TensorNames:
    """The names of a new model's tensors, as `slimseq.inference.models.family.Tensors`. Their values are not read."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._names: Mapping[str, Any] = model.state_dict()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def first_of(self, *names: str) -> str:
        return next(name for name in names if name in self._names)

    def read(self, name: str) -> Floats:
        """Returns zeros: a new model has no values, and sizes do not depend on them."""
        return np.zeros(1, dtype=np.float32)
