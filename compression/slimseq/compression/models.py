"""Opens a model folder with transformers: safetensors only, in fp32, whatever the files' dtype is."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.inference.models.configuration import family_of
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
        BadSource: there are no safetensors, or the files are no such model.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM

    family_of(folder)
    if not list(folder.glob("*.safetensors")):
        raise BadSource(f"{folder} holds no safetensors; pickled weights are never read")
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(
            folder,
            dtype=torch.float32,
            # On a CPU, plain matrix products train a fifth faster than torch's fused attention, and only they can
            # return their weights, which some losses are about.
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except Exception as error:  # transformers raises whatever its loaders raise
        raise BadSource(f"{folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    return model.to(device).eval()  # type: ignore[no-any-return]
