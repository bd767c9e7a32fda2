"""How to quantize: one set of options for all schemes, checked before any work."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import COMMON, SCHEME, flat
from slimseq.evaluation.host import has_vnni

SchemeName = Literal[
    "int8-dynamic",
    "int8-static",
    "bf16",
    "fp16",
    "ctranslate2-int8",
    "ctranslate2-int8-float16",
]
# They quantize all layers alike, and need no data.
WHOLE: tuple[SchemeName, ...] = ("bf16", "fp16", "ctranslate2-int8", "ctranslate2-int8-float16")
CalibrationMethod = Literal["minmax", "entropy", "percentile"]


@flat(SCHEME)
@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize."""

    scheme: Annotated[SchemeName, Parameter(group=COMMON)] = "int8-dynamic"
    """Quantization scheme: which values are quantized, to which type, and for which runtime."""
    per_channel: bool = True
    """One scale for each output channel instead of one for each matrix."""
    reduce_range: bool = not has_vnni()
    """7-bit weights, by default on a CPU without VNNI, whose 16-bit sums saturate with 8 bits."""
    sensitive_layers: Annotated[tuple[str, ...] | None, Parameter(name="--sensitive")] = None
    """Pattern of matrix products to quantize one row of inputs at a time, which is more precise. Matched against names
    such as `encoder/block.0/layer.1/DenseReluDense/wi/MatMul`. Repeatable. By default those known to be sensitive.
    int8-dynamic only."""
    symmetric: bool = False
    """Ranges of activations around 0, without zero points: less precise where values lie to one side of 0.
    int8-static only."""
    calibration_method: CalibrationMethod = "minmax"
    """How int8-static chooses the ranges of activations."""
    calibration_samples: int = 64
    """Number of calibration pairs for int8-static."""
    fallback: float | None = None
    """Maximum mean divergence from the float model on dev data, in nats per target token. The fewest groups of layers
    that this needs stay in float. By default all layers are quantized."""
    fallback_samples: int = 64
    """Number of dev pairs to measure the divergence on."""

    def check(self) -> None:
        """Checks that the options make sense.

        Raises:
            BadParameters: one is out of range, or the scheme does not know it.
        """
        rules = {
            "calibration samples": self.calibration_samples > 0,
            "fallback": self.fallback is None or self.fallback >= 0,
            "fallback samples": self.fallback_samples > 0,
        }
        wrong = [name for name, holds in rules.items() if not holds]
        if wrong:
            raise BadParameters(f"out of range: {', '.join(wrong)}")
        if self.fallback is not None and self.scheme in WHOLE:
            raise BadParameters(f"{self.scheme} quantizes all layers alike; fallback is for the ONNX schemes")
