"""Removes attention heads of a T5, where the heads' width is a configuration key of its own (`d_kv`)."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.anatomy import anatomy_of
from slimseq.compression.prune.importance import Importance
from slimseq.compression.prune.ranking import best, expanded
from slimseq.compression.prune.rebuild import rebuild
from slimseq.inference.models.anatomy import Attention, Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def prune_t5_heads(
    model: "PreTrainedModel", keep: int, importance: Importance, takes_over: bool = False
) -> "PreTrainedModel":
    """Returns a T5 whose attentions keep their most important heads; `d_kv` stays.

    The relative position bias of block 0 serves all self-attentions of its stack, one column a head. They therefore
    drop the same heads, ranked by the sum over the stack's layers, and the bias drops their columns. Each
    cross-attention, which has no bias, keeps its own best.

    Args:
        model: a T5; stays as it is.
        keep: heads to keep, in every attention (`num_heads` is one key for all).
        importance: measured on this model.
        takes_over: whether the model is not used any more, so that what stays whole needs no copy.

    Raises:
        BadParameters: fewer than one or more than all heads are to be kept.
    """
    anatomy = anatomy_of(model)
    state = model.state_dict()
    for stack in anatomy.stacks:
        shared = best(_stack_scores(stack, importance), keep, "attention heads")
        for layer in stack.layers:
            _cut(state, layer.self_attention, shared, anatomy.head_dim)
            if layer.cross_attention is not None:
                own = best(importance.heads[layer.cross_attention.output], keep, "attention heads")
                _cut(state, layer.cross_attention, own, anatomy.head_dim)
    return rebuild(model, {"num_heads": keep}, state, takes_over)


def _stack_scores(stack: Stack, importance: Importance) -> torch.Tensor:
    return torch.stack([importance.heads[layer.self_attention.output] for layer in stack.layers]).sum(0)


def _cut(state: dict[str, torch.Tensor], attention: Attention, kept: torch.Tensor, head_dim: int) -> None:
    rows = expanded(kept, head_dim)
    for name in (attention.query, attention.key, attention.value):
        state[f"{name}.weight"] = state[f"{name}.weight"][rows]
    state[f"{attention.output}.weight"] = state[f"{attention.output}.weight"][:, rows]
    if attention.position_bias is not None:
        state[f"{attention.position_bias}.weight"] = state[f"{attention.position_bias}.weight"][:, kept]
