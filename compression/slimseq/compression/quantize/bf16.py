"""`bf16`: safetensors in bfloat16, half of fp32's size with its range and 8 bits of precision."""

from pathlib import Path
from typing import Any

from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.storage import write_safetensors


class BFloat16:
    """The scheme."""

    description = "Stored in bf16."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes safetensors, as `Scheme.write` says."""
        import torch

        return write_safetensors(work, folder, torch.bfloat16)


SCHEME = BFloat16()
