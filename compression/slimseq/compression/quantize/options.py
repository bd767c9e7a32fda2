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
    "int8-weight-only",
    "int4-weight-only",
    "bf16",
    "fp16",
    "ctranslate2-int8",
    "ctranslate2-int8-float16",
]
# They quantize all layers alike, and need no data.
WHOLE: tuple[SchemeName, ...] = ("bf16", "fp16", "ctranslate2-int8", "ctranslate2-int8-float16")
CalibrationMethod = Literal["minmax", "entropy", "percentile"]

# ONNX Runtime's block kernels take powers of two from here on.
SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class Blocks:
    """How rows are quantized: `bits` (4 or 8) a weight, `size` weights a scale, zero points unless symmetric."""

    bits: int
    size: int
    is_symmetric: bool


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
    """Ranges around 0, without zero points: of activations in int8-static, of blocks in the weight-only schemes. Less
    precise where values lie to one side of 0."""
    calibration_method: CalibrationMethod = "minmax"
    """How int8-static chooses the ranges of activations."""
    calibration_samples: int = 64
    """Number of calibration pairs for int8-static."""
    block_size: int = 32
    """Number of weights that share a scale in the weight-only schemes."""
    fallback: float | None = None
    """Maximum mean divergence from the float model on dev data, in nats per target token. The fewest groups of layers
    that this needs stay in float. By default all layers are quantized."""
    fallback_samples: int = 64
    """Number of dev pairs to measure the divergence on."""
    aware_steps: int = 0
    """Steps of quantization-aware fine-tuning before int4-weight-only quantizes. 0 turns it off."""
    aware_learning_rate: float = 1e-4
    """Peak learning rate of that fine-tuning."""

    def check(self) -> None:
        """Checks that the options make sense.

        Raises:
            BadParameters: one is out of range, or the scheme does not know it.
        """
        rules = {
            f"block size (a power of two from {SMALLEST_BLOCK})": self.block_size >= SMALLEST_BLOCK
            and self.block_size & (self.block_size - 1) == 0,
            "calibration samples": self.calibration_samples > 0,
            "fallback": self.fallback is None or self.fallback >= 0,
            "fallback samples": self.fallback_samples > 0,
            "aware steps": self.aware_steps >= 0,
            "aware learning rate": self.aware_learning_rate > 0,
        }
        wrong = [name for name, holds in rules.items() if not holds]
        if wrong:
            raise BadParameters(f"out of range: {', '.join(wrong)}")
        if self.fallback is not None and self.scheme in WHOLE:
            raise BadParameters(f"{self.scheme} quantizes all layers alike; fallback is for the ONNX schemes")
        if self.aware_steps and self.scheme != "int4-weight-only":
            raise BadParameters(f"aware steps are for int4-weight-only, not for {self.scheme}")
