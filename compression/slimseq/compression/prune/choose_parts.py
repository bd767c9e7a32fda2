"""Chooses which heads and feed-forward channels stay where a plan says how many.

Parts are ranked by their importance (`importance`, criterion `wanda`). The feed-forward weights that stay are fitted to
the outputs before the cut (`feed_forward`).
"""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.cut_to_plan import KeptParts
from slimseq.compression.prune.feed_forward import fitted_down, second_moments
from slimseq.compression.prune.importance import Importance, measure_importance
from slimseq.compression.prune.layer_plan import LayerPlan
from slimseq.compression.prune.rebuild import best
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.inference.models.architecture import Attention, Layer, Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose_parts(
    model: "PreTrainedModel", plan: LayerPlan, calibration: TrainingSet, context: Context
) -> tuple[KeptParts, dict[str, torch.Tensor]]:
    """Chooses the parts that stay, on calibration pairs; the arguments of `cut_to_plan`.

    Afterwards the model is on `context.device` and in evaluation mode. Its weights stay the same.

    Returns:
        The heads and channels that stay, and the fitted weights and biases, by the name of the tensor. Parts that stay
        whole are in neither.
    """
    importance = measure_importance(model, calibration, context)
    kept: dict[str, torch.Tensor] = {}
    for stack in architecture_of_model(model).stacks:
        layers = [stack.layers[planned.layer] for planned in plan.stacks[stack.name]]
        for planned, layer in zip(plan.stacks[stack.name], layers, strict=True):
            own, cross = layer.self_attention, layer.cross_attention
            if isinstance(own, Attention) and planned.heads is not None and planned.heads < own.heads.count:
                scores = _self_attention_scores(stack, layers, own, importance)
                kept[own.output] = best(scores, planned.heads, "attention heads")
            if cross is not None and planned.cross_heads is not None and planned.cross_heads < cross.heads.count:
                kept[cross.output] = best(importance.heads[cross.output], planned.cross_heads, "attention heads")
            scores = importance.channels[layer.feed_forward.down]
            if planned.feed_forward < len(scores):
                kept[layer.feed_forward.down] = best(scores, planned.feed_forward, "feed-forward channels")
    return kept, _fitted(model, kept, calibration)


def _self_attention_scores(
    stack: Stack, layers: list[Layer], attention: Attention, importance: Importance
) -> torch.Tensor:
    """Returns the scores of an attention's heads. Layers that share a position bias have the sum of their scores."""
    if not stack.shares_position_bias:
        return importance.heads[attention.output]
    return torch.stack([importance.heads[layer.attentions[0].output] for layer in layers]).sum(0)


def _fitted(model: "PreTrainedModel", kept: KeptParts, calibration: TrainingSet) -> dict[str, torch.Tensor]:
    """Returns the weights and biases of the projections down that lose channels, fitted on the calibration pairs."""
    downs = [layer.feed_forward.down for layer in architecture_of_model(model).layers]
    cut = [name for name in downs if name in kept]
    if not cut:
        return {}
    moments, state = second_moments(model, calibration), model.state_dict()
    fitted: dict[str, torch.Tensor] = {}
    for name in cut:
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        values = fitted_down(moments.of(name), weight, bias, kept[name])
        fitted[f"{name}.weight"] = values[: len(kept[name])].T.to(weight)
        if bias is not None:
            fitted[f"{name}.bias"] = values[-1].to(bias)
    return fitted
