"""Returns freed heap memory to the system after a burst of requests.

The C library keeps freed memory for later allocations. After long texts this can exceed the memory of the models.
`slimseq.evaluation.host.trim_memory` returns it: some seconds after the last request, or at intervals under load.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from slimseq.evaluation.host import resident_bytes, trim_memory

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
# Trimming a few hundred megabytes takes 3 to 25 ms, blocks threads that allocate, and the next request allocates again.
# So it waits for a pause, or under load for an interval, and is skipped if there is little to free.
QUIET_SECONDS = 5.0
BUSY_SECONDS = 30.0
GROWTH = 1.05


class HeapTrimmer:
    """Trims the heap, as regular checks decide.

    `idle_seconds` returns the seconds since the last request, 0 while there is one.
    """

    def __init__(
        self,
        idle_seconds: Callable[[], float],
        resident: Callable[[], int] = resident_bytes,
        trim: Callable[[], None] = trim_memory,
        clock: Callable[[], float] = time.monotonic,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._idle_seconds = idle_seconds
        self._resident = resident
        self._trim = trim
        self._clock = clock
        self._check_seconds = check_seconds
        # The resident bytes after the last trim, and whether no request was running then.
        self._left = 0
        self._was_quiet = False
        self._trimmed_at = clock()
        self._checks: asyncio.Task[None] | None = None

    def is_due(self) -> bool:
        """Whether to trim now: memory has grown, and the service is idle or the interval is over."""
        resident = self._resident()
        # Variants may have been unloaded since the last trim.
        self._left = min(self._left, resident)
        has_grown = resident > GROWTH * self._left
        if self._is_quiet():
            return has_grown or not self._was_quiet
        return has_grown and self._clock() - self._trimmed_at >= BUSY_SECONDS

    def trim(self) -> None:
        """Trims, and records the remaining bytes. May be called on any thread."""
        before, self._was_quiet = self._resident(), self._is_quiet()
        self._trim()
        self._left, self._trimmed_at = self._resident(), self._clock()
        logger.debug("memory trimmed", extra={"before_bytes": before, "after_bytes": self._left})

    def _is_quiet(self) -> bool:
        return self._idle_seconds() >= QUIET_SECONDS

    def start(self) -> None:
        self._checks = asyncio.create_task(self._keep_checking(), name="heap trimmer")

    async def close(self) -> None:
        if self._checks is not None:
            self._checks.cancel()
            await asyncio.gather(self._checks, return_exceptions=True)

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            if self.is_due():
                await asyncio.to_thread(self.trim)
