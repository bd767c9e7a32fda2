"""Removes whole layers: those without which the loss rises least."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, family_of_model
from slimseq.compression.prune.importance import CALIBRATION_TOKENS
from slimseq.compression.prune.model_shapes import is_varied, shape_changes, shapes_of
from slimseq.compression.prune.rebuild import rebuild
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.loss import mean_loss
from slimseq.inference.models.architecture import Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_layers(stack: str, count: int, keep: int) -> None:
    """Raises BadParameters if a stack of `count` layers cannot keep `keep`."""
    if not 1 <= keep <= count:
        raise BadParameters(f"cannot keep {keep} of {count} {stack} layers")


def evenly_spaced(count: int, keep: int) -> list[int]:
    """Returns `keep` of `count` layers, the first and the last among them; one alone is the first.

    Shleifer & Rush 2020, https://arxiv.org/abs/2010.13002.
    """
    return [0] if keep == 1 else [round(index * (count - 1) / (keep - 1)) for index in range(keep)]


def layers_in_words(kept: Mapping[str, Sequence[int]]) -> str:
    """Returns one line that says which layers stay, counted from 0."""
    stacks = (f"{stack} {', '.join(map(str, layers))}" for stack, layers in kept.items())
    return f"Layers kept: {'; '.join(stacks)}."


def most_important_layers(
    model: "PreTrainedModel", pairs: TrainingSet, context: Context, keep: Mapping[str, int]
) -> dict[str, list[int]]:
    """Returns the layers that stay, ascending, by stack. The model is left as it is.

    The choice is greedy (SLEB, Song et al. 2024, https://arxiv.org/abs/2402.09025). The layer without which the loss
    rises least is removed. Then the others are tried again without it. While the layers of one stack are tried, the
    other stack has all of its layers. Each trial runs all pairs once.
    """
    stacks = architecture_of_model(model).stacks
    kept = {stack.name: list(range(len(stack.layers))) for stack in stacks}
    with context.progress() as display:
        trials = sum(sum(range(keep[name] + 1, len(layers) + 1)) for name, layers in kept.items())
        task = display.add_task("Trying layers", total=trials, status="")
        for stack in stacks:
            remaining = kept[stack.name]
            while len(remaining) > keep[stack.name]:
                removed = [layer.name for index, layer in enumerate(stack.layers) if index not in remaining]
                losses: dict[int, float] = {}
                for index in remaining:
                    with skipping(model, [*removed, stack.layers[index].name]):
                        losses[index] = mean_loss(model, pairs, context.device, CALIBRATION_TOKENS)
                    display.advance(task)
                remaining.remove(min(losses, key=lambda index: losses[index]))
    return kept


@contextmanager
def skipping(model: "PreTrainedModel", layers: Sequence[str]) -> Iterator[None]:
    """Lets some layers return their input during the block, so that the model computes what it would without them.

    `layers` are names of modules. A skipped layer 0 of T5 still computes the position bias that the other layers use.
    """

    def hook(_module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        states = inputs[0] if inputs else named["hidden_states"]
        return (states, *output[1:]) if isinstance(output, tuple) else states

    with ExitStack() as hooks:
        for name in layers:
            hooks.enter_context(model.get_submodule(name).register_forward_hook(hook, with_kwargs=True))
        yield


def keep_layers(model: "PreTrainedModel", kept: Mapping[str, Sequence[int]]) -> "PreTrainedModel":
    """Returns a model with some layers of another, which stays as it is: those of `kept`, ascending, by stack.

    The relative position bias of a stack is stored in its layer 0. It moves to the new layer 0, whichever layer that
    was.
    """
    architecture = architecture_of_model(model)
    state: dict[str, torch.Tensor] = model.state_dict()
    for stack in architecture.stacks:
        take_layers(state, stack, kept[stack.name])
    changes = family_of_model(model).resized(encoder_layers=len(kept["encoder"]), decoder_layers=len(kept["decoder"]))
    if is_varied(model):
        changes = shape_changes(model, shapes_of(model).of_layers(kept))
    return rebuild(model, changes, state)


def take_layers(state: dict[str, torch.Tensor], stack: Stack, kept: Sequence[int]) -> None:
    """Removes the tensors of a stack's other layers from a state dict, in place, and renumbers those that stay."""
    prefix = f"{stack.layers_name}."
    [bias_name, *others] = stack.position_biases or ("",)
    bias = None if others else state.get(f"{bias_name}.weight")
    found = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    for new, old in enumerate(kept):
        old_prefix = f"{prefix}{old}."
        for name, tensor in found.items():
            if name.startswith(old_prefix):
                state[f"{prefix}{new}.{name.removeprefix(old_prefix)}"] = tensor
    if bias is not None:
        state[f"{bias_name}.weight"] = bias
