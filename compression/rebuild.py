"""Makes a model of another shape from tensors cut out of an existing one.

The stock class builds it from the changed configuration and every tensor must fit, so that what is published loads
with `from_pretrained` by construction.
"""

import copy
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    Model = TypeVar("Model", bound=PreTrainedModel)


def rebuild(model: "Model", changes: dict[str, Any], state: "dict[str, torch.Tensor]") -> "Model":
    """Returns a new model of the same class; the given one stays as it is.

    Args:
        model: gives class, configuration and generation configuration.
        changes: configuration keys that differ.
        state: the whole state dict of the new model, tied tensors under each of their names.

    Returns:
        The new model on the same device, in evaluation mode, with its own copy of all tensors.
    """
    config = copy.deepcopy(model.config)
    for name, value in changes.items():
        setattr(config, name, value)
    built = type(model)(config)
    built.load_state_dict(state, strict=True)
    built.tie_weights()  # type: ignore[no-untyped-call]
    built.generation_config = copy.deepcopy(model.generation_config)
    built.to(model.device)  # type: ignore[arg-type]
    built.train(False)
    return built
