"""Cuts a model to a plan: some layers, and in each of them some heads and feed-forward channels.

`layer_plan` says how much stays of each layer, `choose_parts` which heads and channels. The width of a head and of the
residual stream is never cut.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.heads import rows_of_heads
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer, check_plan
from slimseq.compression.prune.layers import take_layers
from slimseq.compression.prune.model_shapes import shape_changes, shapes_of
from slimseq.compression.prune.rebuild import cut_inputs, cut_outputs, rebuild
from slimseq.inference.models.architecture import Attention, Layer, Stack
from slimseq.inference.models.layer_shapes import LayerShape, LayerShapes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

State = dict[str, torch.Tensor]
# What stays of each part: the indices of heads, by the name of an attention's output projection, and of feed-forward
# channels, by the name of a projection down. Ascending, int64. A part that is not named stays whole.
KeptParts = Mapping[str, torch.Tensor]


def cut_to_plan(
    model: "PreTrainedModel",
    plan: LayerPlan,
    kept: KeptParts,
    fitted: Mapping[str, torch.Tensor] | None = None,
    *,
    takes_over: bool = False,
) -> "PreTrainedModel":
    """Returns a model that has what a plan keeps of another, before any training.

    If transformers' configuration can say the sizes of the result, it is a plain model of transformers. Else its
    configuration has `layer_shapes`. All names are those of the model before the cut.

    Args:
        model: the model to cut, which stays as it is.
        plan: the layers that stay, and their sizes.
        kept: the heads and channels that stay, as many of each part as the plan says.
        fitted: new values of weights and biases after the cut, by the name of the tensor. They replace slices of the
            tensors of `model`.
        takes_over: whether `model` is not used any more, so that its tensors need no copy.

    Raises:
        BadParameters: the model cannot be cut to the plan.
        ValueError: `kept` has other numbers of heads or channels than the plan, or a fitted tensor has another shape.
    """
    check_plan(model, plan)
    head_width = shapes_of(model).head_width
    state: State = model.state_dict()
    for stack in architecture_of_model(model).stacks:
        for planned in plan.stacks[stack.name]:
            _cut_layer(state, stack.layers[planned.layer], planned, kept)
        _cut_position_biases(state, stack, plan.stacks[stack.name], kept)
    for name, tensor in (fitted or {}).items():
        if tensor.shape != state[name].shape:
            raise ValueError(f"{name} is fitted as {tuple(tensor.shape)}; after the cut it is {state[name].shape}")
        state[name] = tensor.to(state[name])
    for stack in architecture_of_model(model).stacks:
        take_layers(state, stack, plan.kept[stack.name])
    encoder, decoder = (tuple(map(_shape_of, layers)) for layers in plan.stacks.values())
    changes = shape_changes(model, LayerShapes(head_width, encoder, decoder))
    return rebuild(model, changes, state, takes_over)


def _shape_of(planned: PlannedLayer) -> LayerShape:
    return LayerShape(planned.heads, planned.cross_heads, planned.feed_forward)


def _cut_layer(state: State, layer: Layer, planned: PlannedLayer, kept: KeptParts) -> None:
    own = layer.self_attention
    if isinstance(own, Attention):
        _cut_attention(state, own, planned.heads, kept)
    if layer.cross_attention is not None:
        _cut_attention(state, layer.cross_attention, planned.cross_heads, kept)
    part = layer.feed_forward
    channels = kept.get(part.down)
    _check_count(part.down, channels, planned.feed_forward, state[f"{part.down}.weight"].shape[1])
    if channels is None:
        return
    for up in part.up:
        cut_outputs(state, up, channels)
    cut_inputs(state, part.down, channels)


def _cut_attention(state: State, attention: Attention, count: int | None, kept: KeptParts) -> None:
    heads = kept.get(attention.output)
    _check_count(attention.output, heads, count, attention.heads.count)
    if heads is None:
        return
    rows = rows_of_heads(heads, attention.heads.width)
    for name in (attention.query, attention.key, attention.value):
        cut_outputs(state, name, rows)
    cut_inputs(state, attention.output, rows)


def _check_count(name: str, kept: torch.Tensor | None, planned: int | None, whole: int) -> None:
    count = whole if kept is None else len(kept)
    if count != planned:
        raise ValueError(f"{name} keeps {count} of {whole} parts, and the plan says {planned}")


def _cut_position_biases(state: State, stack: Stack, layers: Sequence[PlannedLayer], kept: KeptParts) -> None:
    """Cuts the columns of heads in T5's relative position biases: one of all layers, or one of each layer (umT5)."""
    if not stack.position_biases:
        return
    by_layer = [kept.get(stack.self_attentions[layer.layer].output) for layer in layers]
    if not stack.shares_position_bias:
        for layer, heads in zip(layers, by_layer, strict=True):
            bias = stack.self_attentions[layer.layer].position_bias
            if heads is not None and bias is not None:
                cut_inputs(state, bias, heads)
        return
    # The bias is stored in layer 0, which may be one of those that go.
    first = by_layer[0]
    if first is None:
        return
    if any(heads is None or not torch.equal(heads, first) for heads in by_layer):
        raise ValueError(f"the self-attentions of the {stack.name} share a position bias; all must keep the same heads")
    cut_inputs(state, stack.position_biases[0], first)
