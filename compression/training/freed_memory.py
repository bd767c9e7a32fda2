"""Keeps the memory that a training step frees for the next one.

A step makes and frees the same large tensors again and again. The C library would give each back to the system and ask
for it anew, page by page, which is a quarter of a step of a small model on a CPU.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Numbers and defaults of glibc's <malloc.h> and mallopt(3).
M_TRIM_THRESHOLD = -1
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
    library = ctypes.CDLL(None)
    set_option, trim = getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)
    if device != "cpu" or set_option is None or trim is None:
        yield
        return
    for option, value in KEEPING.items():
        set_option(option, value)
    try:
        yield
    finally:
        for option, value in USUAL.items():
            set_option(option, value)
        trim(0)
