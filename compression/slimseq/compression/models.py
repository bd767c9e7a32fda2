"""Opens a model folder with transformers: safetensors only, in fp32, whatever the files' dtype is."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.inference.models.configuration import family_of
from slimseq.inference.models.pretrained import load_pretrained
from slimseq.models_store.errors import BadSource

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_model(folder: Path, device: str = "cpu") -> "PreTrainedModel":
    """Loads a T5 or BART for conditional generation.

    Args:
        folder: a Hugging Face model folder with safetensors.
        device: where the weights go.

    Returns:
        The model, fp32, in evaluation mode.

    Raises:
        BadSource: there are no safetensors, the files are no such model, or a tensor of them has no place in it.
    """
    import torch

    family_of(folder)
    if not list(folder.glob("*.safetensors")):
        raise BadSource(f"{folder} holds no safetensors; pickled weights are never read")
    # On a CPU, plain matrix products train a fifth faster than torch's fused attention, and only they can return their
    # weights, which some losses are about.
    return load_pretrained(folder, torch.float32, attention="eager").to(device)  # type: ignore[arg-type]
