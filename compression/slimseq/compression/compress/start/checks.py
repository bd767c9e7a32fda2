"""Checks, before any work, that the machine has room for a run: on the disk and in memory."""

import shutil
from pathlib import Path

import psutil

from slimseq.compression.errors import BadParameters
from slimseq.models_store.files import writing_to
from slimseq.models_store.manifest import Manifest

# Bytes on the disk, as a multiple of the original's fp32 weights: half a dozen candidates in bf16, with their fp32 and
# int8 graphs, and the checkpoint of one training, which has four values for each weight.
DISK_FACTOR = 12
# Memory of the part without training: the model, its moments on calibration data, and a copy that is cut.
MEMORY_FACTOR = 3
# Memory of a training: weights, gradients and two moments of AdamW for a student, and the teacher's weights.
TRAINING_MEMORY_FACTOR = 6


def check_room(original: Manifest, folder: Path) -> None:
    """Checks that the disk and the memory have room for a run.

    Raises:
        BadParameters: they have not; one line says how much is needed and how much is free.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    weights = original.size.fp32_bytes
    free = shutil.disk_usage(folder).free
    if free < DISK_FACTOR * weights:
        raise BadParameters(
            f"compress needs about {DISK_FACTOR * weights / 1e9:,.1f} GB in {folder}, and {free / 1e9:,.1f} GB are "
            "free there; --folder names another place"
        )
    available = psutil.virtual_memory().available
    if available < MEMORY_FACTOR * weights:
        raise BadParameters(
            f"compress needs about {MEMORY_FACTOR * weights / 1e9:,.1f} GB of memory for this model, and "
            f"{available / 1e9:,.1f} GB are free"
        )


def has_memory_to_train(original: Manifest) -> bool:
    """Whether a student can be trained beside its teacher."""
    available: int = psutil.virtual_memory().available
    return available >= TRAINING_MEMORY_FACTOR * original.size.fp32_bytes
