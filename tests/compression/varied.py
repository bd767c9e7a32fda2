"""Plans and cuts that give each layer of a model sizes of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer, whole_plan
from slimseq.inference.models.architecture import Attention, Stack


def varied_plan(model: Any, *, removes_layers: bool = False) -> LayerPlan:
    """Returns a plan by which layers differ: in heads where the family allows it, and in feed-forward channels.

    With `removes_layers`, the first layer of each stack goes, if it has others.
    """
    whole, planned = whole_plan(model), {}
    for stack in architecture_of_model(model).stacks:
        layers = whole.stacks[stack.name]
        if removes_layers and len(layers) > 1:
            layers = layers[1:]
        planned[stack.name] = tuple(_smaller(layer, stack, place) for place, layer in enumerate(layers))
    return LayerPlan(**planned)


def _smaller(layer: PlannedLayer, stack: Stack, place: int) -> PlannedLayer:
    """Returns a layer with fewer heads and channels; how many fewer depends on its place."""
    heads = layer.heads
    if heads is not None:
        heads = max(1, heads - 1 - (0 if stack.shares_position_bias else place))
    cross_heads = layer.cross_heads
    if cross_heads is not None:
        cross_heads = max(1, min(cross_heads, cross_heads - 2 + place))
    return replace(layer, heads=heads, cross_heads=cross_heads, feed_forward=layer.feed_forward - 5 * (place + 1))


def drawn_parts(model: Any, plan: LayerPlan, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draws which heads and channels stay."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(count: int, keep: int) -> torch.Tensor:
        return torch.randperm(count, generator=generator)[:keep].sort().values

    kept: dict[str, torch.Tensor] = {}
    for stack in architecture_of_model(model).stacks:
        shared: torch.Tensor | None = None
        for planned in plan.stacks[stack.name]:
            layer = stack.layers[planned.layer]
            own, cross, down = layer.self_attention, layer.cross_attention, layer.feed_forward.down
            if isinstance(own, Attention) and planned.heads is not None:
                if shared is None or not stack.shares_position_bias:
                    shared = drawn(own.heads.count, planned.heads)
                kept[own.output] = shared
            if cross is not None and planned.cross_heads is not None:
                kept[cross.output] = drawn(cross.heads.count, planned.cross_heads)
            kept[down] = drawn(model.get_parameter(f"{down}.weight").shape[1], planned.feed_forward)
    return kept


def varied(model: Any, seed: int = 0) -> Any:
    """Returns a model whose layers differ, cut from another."""
    plan = varied_plan(model)
    return cut_to_plan(model, plan, drawn_parts(model, plan, seed))


def silence_others(model: Any, kept: dict[str, torch.Tensor], names: Sequence[str]) -> None:
    """Sets the columns of what goes to 0 in output projections and projections down, in place: it adds nothing."""
    width = {
        attention.output: attention.heads.width
        for stack in architecture_of_model(model).stacks
        for attention in stack.attentions
    }
    with torch.no_grad():
        for name in names:
            weight = model.get_parameter(f"{name}.weight")
            columns = torch.ones(weight.shape[1] // width.get(name, 1), dtype=torch.bool)
            columns[kept[name]] = False
            weight[:, columns.repeat_interleave(width.get(name, 1))] = 0
