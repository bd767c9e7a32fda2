"""The schemes `ctranslate2-int8` and `ctranslate2-int8-float16`: an artifact in CTranslate2's format.

Matrices are int8 with one scale a row. `ctranslate2-int8-float16` stores positions, norms and biases in float16: a
twentieth of the file at a width of 256. A CPU computes with them in float32.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimseq.compression.export.ctranslate2 import ComputeType, export_ctranslate2
from slimseq.compression.quantize.scheme import QuantizationRun


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


INT8 = CTranslate2Int8("int8", "Quantized to int8 for CTranslate2.")
INT8_FLOAT16 = CTranslate2Int8("int8_float16", "Quantized to int8 for CTranslate2, other tensors stored in fp16.")
