"""`fp16`: safetensors in half precision, half of fp32's size with 11 bits of precision up to 65504.

Refused for T5, which was trained in bfloat16: its feed-forward outputs exceed that range where the model is run in the
type it is stored in (https://github.com/huggingface/transformers/issues/5651).
"""

from pathlib import Path
from typing import Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.families import FP16_OVERFLOWS
from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.storage import write_safetensors
from slimseq.models_store.manifest import Family


class Float16:
    """The scheme."""

    description = "Stored in fp16."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes safetensors, as `Scheme.write` says."""
        import torch

        if work.parent.family is Family.T5:
            raise BadParameters(FP16_OVERFLOWS)
        return write_safetensors(work, folder, torch.float16)


SCHEME = Float16()
