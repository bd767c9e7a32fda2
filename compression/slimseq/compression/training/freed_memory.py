"""Keeps the memory that a training step frees for the next one.

Each step allocates and frees the same large tensors. The C library would return them to the system and allocate them
again, page by page, which takes a quarter of a step of a small model on a CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from slimseq.evaluation.host import M_TRIM_THRESHOLD, set_malloc_option, trim_memory

# Numbers and defaults of glibc's <malloc.h> and mallopt(3).
M_TOP_PAD = -2
M_MMAP_MAX = -4
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 * 2**20}
USUAL = {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 128 * 2**10, M_TOP_PAD: 128 * 2**10}


@contextmanager
def keeping_freed_memory(device: str) -> Iterator[None]:
    """Keeps freed memory in the process, and returns it at the end; does nothing on a GPU or without glibc.

    Args:
        device: of the training.
    """
    if device != "cpu":
        yield
        return
    for option, value in KEEPING.items():
        set_malloc_option(option, value)
    try:
        yield
    finally:
        for option, value in USUAL.items():
            set_malloc_option(option, value)
        trim_memory()
