"""The input of a quantization scheme.

A scheme is a module with `write(run, folder)`, which writes the files of the quantized model without configuration and
tokenizer, and returns what the lineage records in addition to the options. Its name is in `options.SchemeName`, its
line in `quantize.SCHEMES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.models_store.manifest import Manifest

if TYPE_CHECKING:
    from slimseq.compression.train.data.pairs import DataFiles


@dataclass(frozen=True)
class QuantizationRun:
    """The artifact to quantize, its folder with the weights, and how. Without data files, `files` is None.

    `report_status` shows a short status to the user.
    """

    parent: Manifest
    source: Path
    options: QuantizeOptions
    files: "DataFiles | None"
    report_status: Callable[[str], None]
