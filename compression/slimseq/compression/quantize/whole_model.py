"""The schemes that treat all layers of a model alike: half precision, and int8 for CTranslate2.

`bf16` and `fp16` store the artifact's safetensors in half precision. bfloat16 has the range of fp32 and 8 bits of
precision. float16 has 11 bits of precision and a range up to 65504. It is refused for T5, which was trained in
bfloat16: its feed-forward activations exceed that range (https://github.com/huggingface/transformers/issues/5651).

`ctranslate2-int8` and `ctranslate2-int8-float16` write an artifact in CTranslate2's format. Matrices are int8 with one
scale a row. `ctranslate2-int8-float16` stores positions, norms and biases in float16: a twentieth of the file at a
width of 256. A CPU computes with them in float32.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.export.ctranslate2 import ComputeType, export_ctranslate2
from slimseq.compression.quantize.options import QuantizationRun, SchemeName
from slimseq.inference.models.configuration import family_of, read_json
from slimseq.inference.models.marian_student import ACTIVATION_SCALES
from slimseq.models_store.files import write_json

if TYPE_CHECKING:
    import torch

COMPUTE_TYPES: dict[SchemeName, ComputeType] = {
    "ctranslate2-int8": "int8",
    "ctranslate2-int8-float16": "int8_float16",
}


def write(run: QuantizationRun, folder: Path) -> dict[str, Any]:
    """Writes `ctranslate2/`, or safetensors and `config.json`, whose integer tensors keep their type.

    Raises:
        BadParameters: the family or a weight exceeds the range of float16; names it.
        BadSource: CTranslate2 does not know the model.
    """
    if compute_type := COMPUTE_TYPES.get(run.options.scheme):
        run.report_status("exporting to CTranslate2")
        export_ctranslate2(run.source, folder / "ctranslate2", compute_type)
        return {}
    import torch

    is_fp16 = run.options.scheme == "fp16"
    if is_fp16 and (refusal := family_of(run.source).fp16_refusal):
        raise BadParameters(refusal)
    run.report_status("storing weights")
    _write_safetensors(run.source, folder, torch.float16 if is_fp16 else torch.bfloat16)
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
