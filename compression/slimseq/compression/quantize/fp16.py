"""`fp16`: safetensors in half precision, half of fp32's size with 11 bits of precision up to 65504.

Refused for families whose activations exceed that range, such as T5.
"""

from pathlib import Path
from typing import Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.storage import write_safetensors
from slimseq.inference.models.configuration import family_of


class Float16:
    """The scheme."""

    description = "Stored in fp16."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes safetensors, as `Scheme.write` says."""
        import torch

        refusal = family_of(work.source).fp16_refusal
        if refusal:
            raise BadParameters(refusal)
        return write_safetensors(work, folder, torch.float16)


SCHEME = Float16()
