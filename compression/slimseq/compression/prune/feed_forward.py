"""Removes feed-forward channels, so that every layer of a stack keeps the same number of them."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.anatomy import anatomy_of
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.importance import Importance
from slimseq.compression.prune.ranking import best
from slimseq.compression.prune.rebuild import rebuild
from slimseq.models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def prune_feed_forward(
    model: "PreTrainedModel", keep: dict[str, int], importance: Importance, takes_over: bool = False
) -> "PreTrainedModel":
    """Returns a model whose layers keep their own most important feed-forward channels.

    A channel is a row of each projection up (both where gated) with its bias, and a column of the projection down.

    Args:
        model: a T5 or BART; stays as it is.
        keep: channels to keep in the `encoder` and in the `decoder`. T5 has one `d_ff`, so they must agree there.
        importance: measured on this model.
        takes_over: whether the model is not used any more, so that what stays whole needs no copy.

    Returns:
        The smaller model, its configuration saying so (`d_ff`; `encoder_ffn_dim`, `decoder_ffn_dim`).

    Raises:
        BadParameters: fewer than one or more than all channels are to be kept, or T5's stacks don't agree.
    """
    anatomy = anatomy_of(model)
    state = model.state_dict()
    for stack in anatomy.stacks:
        for layer in stack.layers:
            part = layer.feed_forward
            kept = best(importance.channels[part.down], keep[stack.name], "feed-forward channels")
            for up in part.up:
                state[f"{up}.weight"] = state[f"{up}.weight"][kept]
                if f"{up}.bias" in state:
                    state[f"{up}.bias"] = state[f"{up}.bias"][kept]
            state[f"{part.down}.weight"] = state[f"{part.down}.weight"][:, kept]
    if anatomy.family is Family.T5:
        if len(set(keep.values())) > 1:
            raise BadParameters(f"T5 has one feed-forward width for both stacks, not {keep}")
        return rebuild(model, {"d_ff": keep["encoder"]}, state, takes_over)
    return rebuild(model, {f"{stack}_ffn_dim": count for stack, count in keep.items()}, state, takes_over)


def feed_forward_widths(model: "PreTrainedModel") -> dict[str, int]:
    """Returns the feed-forward width of each stack."""
    return {
        stack.name: _width(model.get_parameter(f"{stack.layers[0].feed_forward.down}.weight"))
        for stack in anatomy_of(model).stacks
    }


def _width(down: torch.Tensor) -> int:
    return down.shape[1]
