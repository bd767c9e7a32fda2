"""`int4-weight-only`: 4-bit weights in blocks, activations in float, after a fine-tuning that knows of it if asked.

Rounding to nearest in blocks, as in Dettmers and Zettlemoyer 2023 (https://arxiv.org/abs/2212.09720), who find that
small blocks are what keeps 4 bits accurate.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from slimseq.compression.quantize.blocks import write_blocks
from slimseq.compression.quantize.protocol import Work


class Int4WeightOnly:
    """The scheme."""

    description = "Weights quantized to int4."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        if not work.options.aware_steps:
            return write_blocks(work, folder, bits=4)
        from slimseq.compression.quantize.aware import write_aware

        with tempfile.TemporaryDirectory() as scratch:
            report = write_aware(work, Path(scratch))
            return write_blocks(replace(work, source=Path(scratch)), folder, bits=4) | {"aware": report}


SCHEME = Int4WeightOnly()
