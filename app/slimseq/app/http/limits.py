"""Counts what each key uses: requests and characters a minute, evaluations a day, and requests in progress.

Windows slide. They are counted in this process, by a clock that nobody can set, or in Redis by the library `limits`.
While Redis does not answer, this process counts for itself. Requests in progress are those of this process.
"""

import logging
import math
import time
from collections import Counter
from typing import Any

from slimseq.app.errors import AboveKeyLimit, KeyLimitReached

REDIS_SECONDS = 0.5
# Time in which Redis is not asked again after it failed.
AWAY_SECONDS = 5.0
BUSY_SECONDS = 1
MINUTE, DAY = 60, 24 * 60 * 60  # In seconds.

logger = logging.getLogger(__name__)


class UsageCounter:
    """Counts the use of keys and refuses what is above their limits.

    With a `url`, `redis://…` or `rediss://…`, it counts together with other processes.
    """

    def __init__(self, url: str | None = None) -> None:
        self._shared: Any = None
        self._failures: tuple[type[Exception], ...] = ()
        if url is not None:
            from limits.aio.storage import RedisStorage
            from limits.aio.strategies import SlidingWindowCounterRateLimiter
            from limits.errors import StorageError

            storage = RedisStorage(
                f"async+{url}",
                implementation="redispy",
                key_prefix="slimseq",
                socket_timeout=REDIS_SECONDS,
                socket_connect_timeout=REDIS_SECONDS,
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)
            kinds = storage.base_exceptions
            if not isinstance(kinds, tuple):
                kinds = (kinds,)
            self._failures = (OSError, StorageError, *kinds)
        self._away_until = 0.0
        self._in_progress: Counter[str] = Counter()
        # By key and what it uses: the number of the current window, and the use in the window before and in this one.
        self._windows: dict[tuple[str, str], tuple[float, int, int]] = {}

    def begin(self, identifier: str, most: int) -> None:
        if self._in_progress[identifier] >= most:
            raise KeyLimitReached(f"{most} requests at once", BUSY_SECONDS)
        self._in_progress[identifier] += 1

    async def spend(self, identifier: str, what: str, cost: int, most: int, period: int) -> None:
        """Counts `cost` of what the key uses, in the plural, against a limit of `most` in a `period` of seconds.

        Raises:
            AboveKeyLimit: the use alone is above the limit.
            KeyLimitReached: the use would be above the limit now.
        """
        limit = f"{most} {what} {'a minute' if period == MINUTE else 'a day'}"
        if cost > most:
            raise AboveKeyLimit(limit, cost)
        seconds = await self._spend_shared(identifier, what, cost, most, period)
        if seconds is None:
            seconds = self._spend_here(identifier, what, cost, most, period)
        if seconds:
            raise KeyLimitReached(limit, min(math.ceil(seconds), period))

    async def _spend_shared(self, identifier: str, what: str, cost: int, most: int, period: int) -> float | None:
        """Counts in Redis. Returns 0, or the seconds until the use may be within the limit; None without an answer."""
        if self._shared is None or time.monotonic() < self._away_until:
            return None
        from limits import RateLimitItemPerSecond

        item = RateLimitItemPerSecond(most, period)
        try:
            if await self._shared.hit(item, identifier, what, cost=cost):
                return 0
            reset, _ = await self._shared.get_window_stats(item, identifier, what)
        except self._failures as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            reason = {"reason": str(error)}
            logger.warning("Redis does not answer: this process counts the use of keys for itself", extra=reason)
            return None
        return max(1, float(reset) - time.time())

    def _spend_here(self, identifier: str, what: str, cost: int, most: int, period: int) -> float:
        """Does the same in this process. The use in the window before counts by its share of the last `period`."""
        seconds = time.monotonic()
        number = seconds // period
        counted_in, before, now = self._windows.get((identifier, what), (number, 0, 0))
        if number > counted_in:
            before = now if number == counted_in + 1 else 0
            now = 0
        left = period - seconds % period
        if int(before * left / period) + now + cost > most:
            return max(1, left % (period / before) if before else left)
        self._windows[identifier, what] = (number, before, now + cost)
        return 0

    def end(self, identifier: str) -> None:
        self._in_progress -= Counter([identifier])
