"""Gives memory that a burst of requests has freed back to the system, once it is over.

The C library keeps what is freed for what comes next. After long texts that is more than the models take, and it stays
until somebody asks for it back: `slimseq.evaluation.host.trim_memory` does, here, some seconds after the last request,
or now and then where requests do not pause.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from slimseq.evaluation.host import resident_bytes, trim_memory

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
# Trimming takes 3 to 25 ms for a few hundred megabytes, threads that allocate wait meanwhile, and the next request gets
# its memory anew. So it waits for a pause, or under traffic for its turn, and is left where it would bring little.
QUIET_SECONDS = 5.0
BUSY_SECONDS = 30.0
GROWTH = 1.05


class HeapTrimmer:
    """Decides when to trim, at regular checks."""

    def __init__(
        self,
        idle_seconds: Callable[[], float],
        resident: Callable[[], int] = resident_bytes,
        trim: Callable[[], None] = trim_memory,
        clock: Callable[[], float] = time.monotonic,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        """Trims nothing yet.

        Args:
            idle_seconds: returns how long no request has been answered, 0 while one is.
            resident: returns the process's resident bytes.
            trim: returns freed memory to the system.
            clock: returns seconds.
            check_seconds: the time between two checks.
        """
        self._idle_seconds = idle_seconds
        self._resident = resident
        self._trim = trim
        self._clock = clock
        self._check_seconds = check_seconds
        # What the last trimming left, and whether all that requests had taken was free by then.
        self._left = 0
        self._was_quiet = False
        self._trimmed_at = clock()
        self._checks: asyncio.Task[None] | None = None

    def is_due(self) -> bool:
        """Whether memory is to be trimmed now: there is some to win, and nobody waits for it or it is high time."""
        resident = self._resident()
        # Variants that were closed meanwhile are no longer a part of what was left.
        self._left = min(self._left, resident)
        has_grown = resident > GROWTH * self._left
        if self._is_quiet():
            return has_grown or not self._was_quiet
        return has_grown and self._clock() - self._trimmed_at >= BUSY_SECONDS

    def trim(self) -> None:
        """Trims, and remembers what is left. May be called on any thread."""
        before, self._was_quiet = self._resident(), self._is_quiet()
        self._trim()
        self._left, self._trimmed_at = self._resident(), self._clock()
        logger.debug("memory trimmed", extra={"before_bytes": before, "after_bytes": self._left})

    def _is_quiet(self) -> bool:
        return self._idle_seconds() >= QUIET_SECONDS

    def start(self) -> None:
        """Begins to check, on the running event loop."""
        self._checks = asyncio.create_task(self._keep_checking(), name="heap trimmer")

    async def close(self) -> None:
        """Ends the checks."""
        if self._checks is not None:
            self._checks.cancel()
            await asyncio.gather(self._checks, return_exceptions=True)

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            if self.is_due():
                await asyncio.to_thread(self.trim)
