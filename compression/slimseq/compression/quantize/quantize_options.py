"""How to quantize: one set of options for all schemes, and what a scheme gets.

A scheme is a module of `schemes` with `write(run, folder)`. It writes the files of the quantized model without
configuration and tokenizer, and returns what the lineage records in addition to the options. Its name is in
`SchemeName`, its line in `quantize.SCHEMES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from slimseq.compression.options import COMMON, SCHEME, flat
from slimseq.evaluation.host import has_vnni
from slimseq.models_store.manifest import Manifest

if TYPE_CHECKING:
    from slimseq.compression.train.data.training_data import DataFiles

SchemeName = Literal[
    "int8-dynamic",
    "int8-published",
    "int4-blocks",
    "bf16",
    "fp16",
    "ctranslate2-int8",
    "ctranslate2-int8-float16",
]


@flat(SCHEME)
@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize."""

    scheme: Annotated[SchemeName, Parameter(group=COMMON)] = "int8-dynamic"
    """Quantization scheme: which values are quantized, to which type, and for which runtime."""
    reduce_range: Annotated[bool, Parameter(show_default=False)] = not has_vnni()
    """7-bit weights, by default on a CPU without VNNI, whose 16-bit sums saturate with 8 bits. int8-published keeps all
    8 bits."""
    sensitive_layers: Annotated[tuple[str, ...] | None, Parameter(name="--sensitive")] = None
    """Pattern of matrix products to quantize one row of inputs at a time, which is more precise. Matched against names
    such as `encoder/block.0/layer.1/DenseReluDense/wi/MatMul`. Repeatable. By default those known to be sensitive.
    int8-dynamic and int4-blocks only."""
    calibration_samples: int = 64
    """Number of calibration pairs for int4-blocks."""


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
