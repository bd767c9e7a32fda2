"""Removes feed-forward channels, so that every layer of a stack keeps the same number of them."""

from typing import TYPE_CHECKING

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import Importance
from slimseq.compression.prune.rebuild import best, rebuild

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def prune_feed_forward(
    model: "PreTrainedModel", keep: dict[str, int], importance: Importance, takes_over: bool = False
) -> "PreTrainedModel":
    """Returns a model whose layers keep their own most important feed-forward channels.

    A channel is a row of each projection up (both where gated) with its bias, and a column of the projection down.

    Args:
        model: of any family; stays as it is.
        keep: channels to keep in the `encoder` and in the `decoder`; as many where one configuration key says both.
        importance: measured on this model.
        takes_over: whether the model is not used any more, so that what stays whole needs no copy.

    Returns:
        The smaller model, its configuration saying so (`d_ff`; `encoder_ffn_dim`, `decoder_ffn_dim`).

    Raises:
        BadParameters: fewer than one or more than all channels are to be kept, or stacks that must agree don't.
    """
    architecture = architecture_of_model(model)
    family = architecture.family
    if family.has_one_feed_forward_width and len(set(keep.values())) > 1:
        raise BadParameters(f"{family.title} has one feed-forward width for both stacks, not {keep}")
    state = model.state_dict()
    for stack in architecture.stacks:
        for layer in stack.layers:
            part = layer.feed_forward
            kept = best(importance.channels[part.down], keep[stack.name], "feed-forward channels")
            for up in part.up:
                state[f"{up}.weight"] = state[f"{up}.weight"][kept]
                if f"{up}.bias" in state:
                    state[f"{up}.bias"] = state[f"{up}.bias"][kept]
            state[f"{part.down}.weight"] = state[f"{part.down}.weight"][:, kept]
    changes = family.resized(**{f"{stack}_feed_forward": count for stack, count in keep.items()})
    return rebuild(model, changes, state, takes_over)


def feed_forward_widths(model: "PreTrainedModel") -> dict[str, int]:
    return {
        stack.name: model.get_parameter(f"{stack.layers[0].feed_forward.down}.weight").shape[1]
        for stack in architecture_of_model(model).stacks
    }
