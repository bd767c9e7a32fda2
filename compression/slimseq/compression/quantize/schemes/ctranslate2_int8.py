"""The schemes `ctranslate2-int8` and `ctranslate2-int8-float16`: an artifact in CTranslate2's format.

Matrices are int8 with one scale a row. `ctranslate2-int8-float16` stores positions, norms and biases in float16, which
are a twentieth of the file at a width of 256. A CPU computes with them in float32. In a recipe:

    - quantize: {scheme: ctranslate2-int8}
"""

from pathlib import Path
from typing import Any, Final

from slimseq.compression.export.ctranslate2_converter import ComputeType, export_ctranslate2
from slimseq.compression.quantize.quantize_options import QuantizationRun, SchemeName

COMPUTE_TYPES: Final[dict[SchemeName, ComputeType]] = {
    "ctranslate2-int8": "int8",
    "ctranslate2-int8-float16": "int8_float16",
}


def write(run: QuantizationRun, folder: Path) -> dict[str, Any]:
    """Writes `ctranslate2/`.

    Raises:
        BadSource: CTranslate2 does not know the model.
    """
    run.report_status("exporting to CTranslate2")
    export_ctranslate2(run.source, folder / "ctranslate2", COMPUTE_TYPES[run.options.scheme])
    return {}
