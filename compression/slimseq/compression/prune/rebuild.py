"""Makes a model of another shape from slices of the tensors of an existing model.

The class of transformers builds it from the changed configuration, or a subclass of it where layers have different
widths. Every tensor must fit. So the published model loads with `from_pretrained`.
"""

import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from slimseq.compression.errors import BadParameters
from slimseq.inference.models.layer_shapes import LAYER_SHAPES
from slimseq.inference.models.pretrained import is_output_tied, untie_output
from slimseq.inference.models.shaped_module import class_for

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    Model = TypeVar("Model", bound=PreTrainedModel)


def best(scores: torch.Tensor, keep: int, what: str) -> torch.Tensor:
    """Returns the indices of the highest scores `(parts,)`, ascending; of equal ones the first: `(keep,)`, int64.

    Raises:
        BadParameters: `keep` is below 1 or above the number of parts.
    """
    if not 1 <= keep <= len(scores):
        raise BadParameters(f"cannot keep {keep} of {len(scores)} {what}")
    return scores.argsort(descending=True, stable=True)[:keep].sort().values


def cut_outputs(state: dict[str, torch.Tensor], module: str, kept: torch.Tensor) -> None:
    """Keeps some rows of a module's weight and of its bias, each if it is there."""
    for name in {f"{module}.weight", f"{module}.bias"} & state.keys():
        state[name] = state[name][kept]


def cut_inputs(state: dict[str, torch.Tensor], module: str, kept: torch.Tensor) -> None:
    """Keeps some columns of a module's weight."""
    state[f"{module}.weight"] = state[f"{module}.weight"][:, kept]


def rebuild(
    model: "Model", changes: dict[str, Any], state: dict[str, torch.Tensor], takes_over: bool = False
) -> "Model":
    """Returns a new model of the same family, on the same device, in evaluation mode. The given one stays as it is.

    Args:
        model: the model whose class, configuration and generation configuration the new one has.
        changes: keys of the configuration that change.
        state: the whole state dict of the new model, with tied tensors under each of their names. Tensors that share
            memory with `model` are copied, and all others are used as they are.
        takes_over: whether `model` is not used any more, so that its tensors need no copy.
    """
    # The new model is made without weights: otherwise a large model would be initialized and held twice in memory.
    built = empty(model, changes)
    model_storages = set() if takes_over else {_place(tensor)[0] for tensor in model.state_dict().values()}
    tensors_by_place: dict[tuple[Any, ...], torch.Tensor] = {}
    new_state: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        place = _place(tensor)
        if place not in tensors_by_place:
            is_shared = place[0] in model_storages
            tensors_by_place[place] = tensor.detach().clone() if is_shared else tensor.detach().contiguous()
        new_state[name] = tensors_by_place[place]
    built.load_state_dict(new_state, strict=True, assign=True)
    built.tie_weights()
    built.generation_config = copy.deepcopy(model.generation_config)
    built.to(model.device)  # type: ignore[arg-type]
    built.train(False)
    return built


def empty(model: "Model", changes: dict[str, Any]) -> "Model":
    """Returns a model of the same family and another configuration: its parameters have shapes, but no values."""
    from accelerate import init_empty_weights

    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # transformers 4
        from transformers.modeling_utils import no_init_weights  # type: ignore[attr-defined, no-redef]

    config = copy.deepcopy(model.config)
    for name, value in changes.items():
        if name == LAYER_SHAPES and value is None:
            # A model whose layers have one shape has no such key.
            vars(config).pop(name, None)
        else:
            setattr(config, name, value)
    # Buffers that no state dict has, such as sinusoidal positions of some families, are computed.
    with no_init_weights(), init_empty_weights(include_buffers=False):
        built = cast("type[Model]", class_for(type(model), config))(config)
    # Without initialisation nothing is tied either.
    built.tie_weights()
    if not is_output_tied(model):
        untie_output(built)
    return built


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Returns where a tensor lies in memory. Tied tensors have the same place."""
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride()
