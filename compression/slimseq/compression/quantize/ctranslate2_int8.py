"""`ctranslate2-int8`: an artifact whose own format is CTranslate2, weights int8 with one scale a row."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimseq.compression.export.ctranslate2 import ComputeType, export_ctranslate2
from slimseq.compression.quantize.protocol import Work


@dataclass(frozen=True)
class CTranslate2Int8:
    """The scheme.

    Args:
        compute_type: how matrices, and what is no matrix, are stored.
        description: for the card.
    """

    compute_type: ComputeType
    description: str

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `ctranslate2/`, as `Scheme.write` says."""
        work.say("exporting to CTranslate2")
        export_ctranslate2(work.source, folder / "ctranslate2", self.compute_type)
        return {}


SCHEME = CTranslate2Int8("int8", "Quantized to int8 for CTranslate2.")
