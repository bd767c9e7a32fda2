"""Opens a model folder with transformers for training, in fp32, and finds the architecture of an opened model.

Only safetensors are read. Techniques take the names of tensors from the architecture, so that they know of no family.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.inference.models.architecture import Architecture, Layer
from slimseq.inference.models.configuration import family_of
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.models.pretrained import load_pretrained
from slimseq.inference.models.registry import architecture_of, family_named
from slimseq.inference.models.safetensors_reader import Floats
from slimseq.models_store.errors import BadSource

if TYPE_CHECKING:
    from transformers import PreTrainedModel


# transformers' name for attention as plain matrix products. On a CPU they train a fifth faster than torch's fused
# attention.
ATTENTION = "eager"


def load_model(folder: Path, device: str = "cpu") -> "PreTrainedModel":
    """Loads a T5 or BART for conditional generation, fp32, in evaluation mode.

    Raises:
        BadSource: there are no safetensors, the files are no such model, or a tensor of them has no place in it.
    """
    import torch

    family_of(folder)
    if not list(folder.glob("*.safetensors")):
        raise BadSource(f"{folder} holds no safetensors; pickled weights are never read")
    model: PreTrainedModel = load_pretrained(folder, torch.float32, attention=ATTENTION).to(device)  # type: ignore[arg-type]
    return model


def architecture_of_model(model: "PreTrainedModel") -> Architecture:
    """Returns the architecture of a model that transformers opened, or raises BadSource for an unknown type."""
    return architecture_of(model.config.to_dict(), _StateTensors(model))


def feed_forward_channels(model: "PreTrainedModel", layer: Layer) -> int:
    """Returns the number of channels of a layer's feed-forward."""
    return int(model.get_parameter(f"{layer.feed_forward.down}.weight").shape[1])


def family_of_model(model: "PreTrainedModel") -> ModelFamily:
    """Returns the family of a model that transformers opened, or raises BadSource for an unknown type."""
    return family_named(model.config.model_type)


class _StateTensors:
    """The tensors of a state dict, as `slimseq.inference.models.family.Tensors`."""

    def __init__(self, model: "PreTrainedModel") -> None:
        self._state = model.state_dict()

    def __contains__(self, name: str) -> bool:
        return name in self._state

    def first_of(self, *names: str) -> str:
        return next(name for name in names if name in self._state)

    def read(self, name: str) -> Floats:
        return self._state[name].float().cpu().numpy()  # type: ignore[no-any-return]
