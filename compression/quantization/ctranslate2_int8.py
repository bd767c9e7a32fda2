"""`ctranslate2-int8`: an artifact whose own format is CTranslate2, weights int8 with one scale a row."""

from pathlib import Path
from typing import Any

from compression.export.ctranslate2 import export_ctranslate2
from compression.quantization.protocol import Work


class CTranslate2Int8:
    """The scheme."""

    description = "Quantized to int8 for CTranslate2."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `ctranslate2/`, as `Scheme.write` says."""
        work.say("exporting to CTranslate2")
        export_ctranslate2(work.source, folder / "ctranslate2", "int8")
        return {}


SCHEME = CTranslate2Int8()
