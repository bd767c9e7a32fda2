"""Keeps the memory that a training step frees for the next one.

A step makes and frees the same large tensors again and again. The C library would give each back to the system and ask
for it anew, page by page, which is a quarter of a step of a small model on a CPU.
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
    """Keeps freed memory inside, and gives it back at the end; does nothing off the CPU or without glibc.

    Args:
        device: what the training runs on.
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
