"""What the storage schemes share: an artifact's safetensors again, in another floating-point type."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.publish import write_json
from slimseq.compression.quantize.protocol import Work
from slimseq.inference.models.configuration import read_json

if TYPE_CHECKING:
    import torch


def write_safetensors(work: Work, folder: Path, dtype: "torch.dtype") -> dict[str, Any]:
    """Writes the source's safetensors files with their floating-point tensors in `dtype`, and `config.json`.

    Integers stay as they are, and what was stored once is stored once again.

    Args:
        work: what to store.
        folder: the artifact's folder.
        dtype: a floating-point type.

    Returns:
        Nothing to record beside the options.

    Raises:
        BadParameters: a weight is beyond the type's range; names it.
    """
    from safetensors.torch import load_file, save_file

    work.say("storing weights")
    for path in sorted(work.source.glob("*.safetensors")):
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                tensors[name] = _stored(name, tensor, dtype)
        save_file(tensors, str(folder / path.name), metadata={"format": "pt"})
    for path in work.source.glob("*.safetensors.index.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    config = read_json(work.source / "config.json") | {"dtype": str(dtype).removeprefix("torch.")}
    config.pop("torch_dtype", None)
    write_json(folder / "config.json", config)
    return {}


def _stored(name: str, tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    low = tensor.to(dtype)
    if not low.isfinite().all() and tensor.isfinite().all():
        largest = float(tensor.abs().max())
        raise BadParameters(f"{name} has weights up to {largest:.3g}, beyond the range of {dtype}; store bf16 instead")
    return low.contiguous()
