"""Tunes the C library's allocator and the garbage collector for a server: when memory is freed and given back."""

import asyncio
import gc
from collections.abc import Callable

from slimseq.evaluation.host import (
    M_TRIM_THRESHOLD,
    available_cores,
    resident_bytes,
    set_malloc_option,
    trim_memory,
)

# Option numbers of glibc's malloc.h.
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# More arenas keep more memory of unloaded variants than they save in lock contention.
MAX_ARENAS = 4
# Larger blocks get pages of their own, which the system clears at each allocation. The logits of 64 hypotheses and
# 50,000 tokens are smaller. A heap keeps up to this much free memory at its end, and only that of the main heap is
# trimmed while idle. With 4 and 8 MiB, t5-small and bart-base (random weights) give 13 to 15 % fewer answers.
THRESHOLD_BYTES = 16 * 2**20
# Interval of trims. A trim of a few hundred megabytes takes 3 to 25 ms and blocks threads that allocate, and the next
# request has to allocate again.
TRIM_SECONDS = 10.0
# Growth of the process since the last trim after which an idle service trims again. Bodies of requests that lease no
# variant, such as evaluations and requests that are refused, left 40 MB.
GROWN_BYTES = 8 * 2**20
# Allocations between two collections of the youngest objects; 700 is the default. A request makes thousands of objects,
# most of which are freed without a collection.
YOUNG_OBJECTS = 10_000
# Collections of the youngest objects between two of those that outlived one: Python's default.
YOUNG_COLLECTIONS = 10
# More collections of these than there will ever be: no full collection begins by itself.
NEVER = 2**31 - 1
# Interval at which a full collection may run. It visits all objects: while a document with 100,000 tags is read, this
# takes a quarter of a second.
COLLECT_SECONDS = 10.0
# Time between full collections if there are always requests.
MAX_BUSY_SECONDS = 600.0


def bound_heaps(arenas: int = MAX_ARENAS) -> None:
    """Limits the unused memory that the C library keeps, for a server. Call it before threads are started.

    Free memory of an arena cannot be used by threads of another one, and trimming returns only a part of it; glibc has
    up to eight arenas a core. By default it also raises its thresholds whenever large blocks are freed, up to 64 MiB
    for each arena, and trimming does not reach the end of the threads' arenas.
    """
    set_malloc_option(M_ARENA_MAX, min(available_cores(), arenas))
    set_malloc_option(M_MMAP_THRESHOLD, THRESHOLD_BYTES)
    set_malloc_option(M_TRIM_THRESHOLD, THRESHOLD_BYTES)


async def keep_trimming(idle_seconds: Callable[[], float], interval_seconds: float = TRIM_SECONDS) -> None:
    """Returns freed memory to the system at intervals while there are requests, after the last one, and after growth.

    The C library keeps freed memory for later allocations. After long texts this can exceed the memory of the models.
    `idle_seconds` returns the seconds since the last request for a variant, 0 while there is one. Other requests take
    little memory, or let the process grow.
    """
    trimmed_bytes = resident_bytes()
    while True:
        await asyncio.sleep(interval_seconds)
        # Twice, because a check may be a little late.
        has_served = idle_seconds() < 2 * interval_seconds
        has_grown = resident_bytes() > trimmed_bytes + GROWN_BYTES
        if has_served or has_grown:
            await asyncio.to_thread(trim_memory)
            trimmed_bytes = resident_bytes()


def collect_when_idle() -> None:
    """Leaves full garbage collections to `keep_collecting`. Call it once everything is imported and made.

    What exists by now lives as long as the process. To visit it would hold the event loop for 100 ms.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, NEVER)


async def keep_collecting(
    idle_seconds: Callable[[], float],
    interval_seconds: float = COLLECT_SECONDS,
    max_busy_seconds: float = MAX_BUSY_SECONDS,
) -> None:
    """Collects all garbage when there is no request, and at the latest after `max_busy_seconds` with requests.

    A full collection holds the interpreter for as long as it visits objects, and requests have most of them. Nearly all
    objects are freed without one. `idle_seconds` returns the seconds since the last request, 0 while there is one.
    """
    passed = 0.0
    while True:
        await asyncio.sleep(interval_seconds)
        passed += interval_seconds
        idle = idle_seconds()
        # An interval more, because a check may be a little late.
        has_ended = 0 < idle < passed + interval_seconds
        if has_ended or (idle == 0 and passed >= max_busy_seconds):
            gc.collect()
            passed = 0.0
