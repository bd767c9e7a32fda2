"""How to quantize: one set of options for all schemes, checked before any work."""

from dataclasses import dataclass
from typing import Literal

from slimseq.compression.errors import BadParameters
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
# What these round, they round in all layers alike, and by its values alone.
WHOLE: tuple[SchemeName, ...] = ("bf16", "fp16", "ctranslate2-int8", "ctranslate2-int8-float16")
CalibrationMethod = Literal["minmax", "entropy", "percentile"]

# ONNX Runtime's block kernels take powers of two from here on.
SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class QuantizeOptions:
    """How to round.

    Args:
        per_channel: one scale for each output channel instead of one a matrix.
        reduce_range: 7-bit weights, which keep CPUs without VNNI from saturating their 16-bit sums.
        sensitive_layers: patterns of matrix products to round more finely, a row of inputs at a time; searched in
            names such as `encoder/block.0/layer.1/DenseReluDense/wi/MatMul`. None takes those known to be sensitive.
            Of int8-dynamic.
        scheme: what is rounded, to what, and for which runtime.
        symmetric: ranges around 0, so that no zero points are stored: of activations in int8-static, of blocks in
            the weight-only schemes. Rounds more coarsely where values lie to one side.
        calibration_method: how int8-static chooses activation ranges.
        calibration_samples: pairs that int8-static runs to see activations.
        block_size: weights that share a scale in the weight-only schemes.
        fallback: greatest mean divergence from the unrounded model on dev data, in nats a target token. The fewest
            groups of layers that must stay in float for it do. None rounds everything.
        fallback_samples: dev pairs that divergence is measured on.
        aware_steps: steps of fine-tuning with rounded weights before int4-weight-only rounds them; 0 for none.
        aware_learning_rate: its peak in that fine-tuning.
    """

    per_channel: bool = True
    reduce_range: bool = not has_vnni()
    sensitive_layers: tuple[str, ...] | None = None
    scheme: SchemeName = "int8-dynamic"
    symmetric: bool = False
    calibration_method: CalibrationMethod = "minmax"
    calibration_samples: int = 64
    block_size: int = 32
    fallback: float | None = None
    fallback_samples: int = 64
    aware_steps: int = 0
    aware_learning_rate: float = 1e-4

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
            raise BadParameters(f"{self.scheme} rounds all layers alike; fallback is for the ONNX schemes")
        if self.aware_steps and self.scheme != "int4-weight-only":
            raise BadParameters(f"aware steps are for int4-weight-only, not for {self.scheme}")
