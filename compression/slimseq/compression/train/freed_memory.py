"""Keeps the memory that a training step on a CPU frees, for the next step."""

from collections.abc import Iterator
from contextlib import contextmanager

from slimseq.evaluation.host import M_TRIM_THRESHOLD, set_malloc_option, trim_memory

# Options of glibc's `mallopt`, by their numbers in <malloc.h>. Then the values that keep freed memory, and the defaults
# that the manual page mallopt(3) names.
M_TOP_PAD, M_MMAP_MAX = -2, -4
KEEP_FREED_MEMORY = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 * 2**20}
MALLOC_DEFAULTS = {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 128 * 2**10, M_TOP_PAD: 128 * 2**10}


@contextmanager
def keeping_freed_memory(device: str) -> Iterator[None]:
    """On a CPU, keeps the memory that a training step frees for the next step, and returns it at the end.

    Each step allocates and frees the same large tensors. The C library would return their memory to the system and
    allocate it again, page by page, which takes a quarter of a step of a small model.
    """
    if device != "cpu":
        yield
        return
    try:
        for option, value in KEEP_FREED_MEMORY.items():
            set_malloc_option(option, value)
        yield
    finally:
        for option, value in MALLOC_DEFAULTS.items():
            set_malloc_option(option, value)
        trim_memory()
