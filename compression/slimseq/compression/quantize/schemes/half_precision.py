"""The schemes `bf16` and `fp16`: the artifact's safetensors in half precision.

bfloat16 has the range of fp32 and 8 bits of precision. float16 has 11 bits of precision and a range up to 65504. It is
refused for T5, which was trained in bfloat16: its feed-forward activations exceed that range
(https://github.com/huggingface/transformers/issues/5651). In a recipe:

    - quantize: {scheme: bf16}
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.quantize_options import QuantizationRun
from slimseq.inference.models.configuration import family_of, read_json
from slimseq.inference.models.marian_student import ACTIVATION_SCALES
from slimseq.models_store.files import write_json

if TYPE_CHECKING:
    import torch


def write(run: QuantizationRun, folder: Path) -> dict[str, Any]:
    """Writes safetensors, whose integer tensors keep their type, and `config.json`.

    Raises:
        BadParameters: the family or a weight exceeds the range of float16; names it.
    """
    import torch

    dtype = torch.bfloat16
    if run.options.scheme == "fp16":
        refusal = family_of(run.source).fp16_refusal
        if refusal:
            raise BadParameters(refusal)
        dtype = torch.float16
    run.report_status("storing weights")
    _write_safetensors(run.source, folder, dtype)
    return {}


def _write_safetensors(source: Path, folder: Path, dtype: "torch.dtype") -> None:
    from safetensors.torch import load_file, save_file

    for path in sorted(source.glob("*.safetensors")):
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                tensors[name] = _converted(name, tensor, dtype)
        save_file(tensors, str(folder / path.name), metadata={"format": "pt"})
    for path in source.glob("*.safetensors.index.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    config = read_json(source / "config.json") | {"dtype": str(dtype).removeprefix("torch.")}
    for name in ("torch_dtype", ACTIVATION_SCALES):
        config.pop(name, None)
    write_json(folder / "config.json", config)


def _converted(name: str, tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    low = tensor.to(dtype)
    if not low.isfinite().all() and tensor.isfinite().all():
        largest = float(tensor.abs().max())
        raise BadParameters(f"{name} has weights up to {largest:.3g}, beyond the range of {dtype}; store bf16 instead")
    return low.contiguous()
