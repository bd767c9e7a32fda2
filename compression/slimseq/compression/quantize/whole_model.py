"""The schemes that treat all layers of a model alike: half precision, and int8 for CTranslate2.

`bf16` and `fp16` store the artifact's safetensors in half precision. bfloat16 has the range of fp32 and 8 bits of
precision. float16 has 11 bits of precision and a range up to 65504. It is refused for T5, which was trained in
bfloat16: its feed-forward activations exceed that range (https://github.com/huggingface/transformers/issues/5651).

`ctranslate2-int8` and `ctranslate2-int8-float16` write an artifact in CTranslate2's format. Matrices are int8 with one
scale a row. `ctranslate2-int8-float16` stores positions, norms and biases in float16: a twentieth of the file at a
width of 256. A CPU computes with them in float32.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slimseq.compression.errors import BadParameters
from slimseq.compression.export.ctranslate2 import ComputeType, export_ctranslate2
from slimseq.compression.quantize.scheme import QuantizationRun
from slimseq.inference.models.configuration import family_of, read_json
from slimseq.models_store.files import write_json

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HalfPrecision:
    """The scheme.

    Args:
        dtype: the name of the type in PyTorch.
        description: for the model card.
    """

    dtype: Literal["bfloat16", "float16"]
    description: str

    def write(self, run: QuantizationRun, folder: Path) -> dict[str, Any]:
        """Writes safetensors and `config.json`, as `Scheme.write` says. Integer tensors keep their type.

        Raises:
            BadParameters: the family or a weight exceeds the range of the type; names it.
        """
        import torch

        if self.dtype == "float16" and (refusal := family_of(run.source).fp16_refusal):
            raise BadParameters(refusal)
        _write_safetensors(run, folder, getattr(torch, self.dtype))
        return {}


def _write_safetensors(run: QuantizationRun, folder: Path, dtype: "torch.dtype") -> None:
    from safetensors.torch import load_file, save_file

    run.report_status("storing weights")
    for path in sorted(run.source.glob("*.safetensors")):
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                tensors[name] = _converted(name, tensor, dtype)
        save_file(tensors, str(folder / path.name), metadata={"format": "pt"})
    for path in run.source.glob("*.safetensors.index.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    config = read_json(run.source / "config.json") | {"dtype": str(dtype).removeprefix("torch.")}
    config.pop("torch_dtype", None)
    write_json(folder / "config.json", config)


def _converted(name: str, tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    low = tensor.to(dtype)
    if not low.isfinite().all() and tensor.isfinite().all():
        largest = float(tensor.abs().max())
        raise BadParameters(f"{name} has weights up to {largest:.3g}, beyond the range of {dtype}; store bf16 instead")
    return low.contiguous()


@dataclass(frozen=True)
class CTranslate2Int8:
    """The scheme.

    Args:
        compute_type: the types of matrices and of other tensors.
        description: for the model card.
    """

    compute_type: ComputeType
    description: str

    def write(self, run: QuantizationRun, folder: Path) -> dict[str, Any]:
        """Writes `ctranslate2/`, as `Scheme.write` says."""
        run.report_status("exporting to CTranslate2")
        export_ctranslate2(run.source, folder / "ctranslate2", self.compute_type)
        return {}


BF16 = HalfPrecision("bfloat16", "Stored in bf16.")
FP16 = HalfPrecision("float16", "Stored in fp16.")
CTRANSLATE2_INT8 = CTranslate2Int8("int8", "Quantized to int8 for CTranslate2.")
CTRANSLATE2_INT8_FLOAT16 = CTranslate2Int8(
    "int8_float16", "Quantized to int8 for CTranslate2, other tensors stored in fp16."
)
