"""Tunes the C library's allocator for a server. `slimseq.app.serving.pool.trimming` frees memory later."""

from slimseq.evaluation.host import M_TRIM_THRESHOLD, available_cores, set_malloc_option

# Option numbers of glibc's malloc.h.
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# More arenas keep more memory of unloaded variants than they save in lock contention.
MAX_ARENAS = 4
# Key-value caches are larger than the mmap threshold, and a step frees less than the trim threshold: so no step calls
# the operating system.
MMAP_THRESHOLD_BYTES = 4 * 2**20
TRIM_THRESHOLD_BYTES = 8 * 2**20


def bound_heaps(arenas: int = MAX_ARENAS) -> None:
    """Limits the unused memory that the C library keeps, for a server. Call it before threads are started.

    Free memory of an arena cannot be used by threads of another one, and trimming returns only a part of it; glibc has
    up to eight arenas a core. By default it also raises its thresholds whenever large blocks are freed, up to 64 MiB
    for each arena, and trimming does not reach the end of the threads' arenas.
    """
    set_malloc_option(M_ARENA_MAX, min(available_cores(), arenas))
    set_malloc_option(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    set_malloc_option(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
