"""`int8-weight-only`: 8-bit weights in blocks, activations in float. Nearly lossless, and not faster than float."""

from pathlib import Path
from typing import Any

from slimseq.compression.quantize.blocks import write_blocks
from slimseq.compression.quantize.protocol import Work


class Int8WeightOnly:
    """The scheme."""

    description = "Weights quantized to int8."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        return write_blocks(work, folder, bits=8)


SCHEME = Int8WeightOnly()
