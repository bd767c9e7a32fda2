"""Counts what each key uses: requests and characters a minute, evaluations a day, and requests in progress.

A minute or a day is a sliding window. The use is counted in this process, by a monotonic clock, or in Redis by the
library `limits`, together with other processes. While Redis does not answer, this process counts for itself. Requests
in progress are always those of this process.
"""

import logging
import math
import time
from collections import Counter
from typing import Any, NamedTuple

from slimseq.app.errors import AboveKeyLimit, KeyLimitReached

# Timeout of a request to Redis, since every request of a client waits for it.
REDIS_SECONDS = 0.5
# Time for which Redis is not asked again after it failed.
AWAY_SECONDS = 5.0
# When a client should retry after too many requests at once: any of them may end soon.
BUSY_SECONDS = 1
# Periods in seconds.
MINUTE = 60
DAY = 24 * 60 * 60

logger = logging.getLogger(__name__)


class Window(NamedTuple):
    """What a key has used in a window of fixed length.

    Attributes:
        number: the number of the window, counted from the start of the monotonic clock.
        use_before: the use in the window before it.
        use: the use in this window.
    """

    number: float
    use_before: int
    use: int


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
        # The last window with use, by the key and what it uses.
        self._windows: dict[tuple[str, str], Window] = {}

    def begin(self, identifier: str, most: int) -> None:
        """Counts a request in progress of a key, which may have `most` at once, until `end`."""
        if self._in_progress[identifier] >= most:
            raise KeyLimitReached(f"{most} requests at once", BUSY_SECONDS)
        self._in_progress[identifier] += 1

    def end(self, identifier: str) -> None:
        # A `Counter` that is subtracted also removes the keys whose count is 0.
        self._in_progress -= Counter([identifier])

    async def spend(self, identifier: str, what: str, cost: int, most: int, period: int) -> None:
        """Counts `cost` of what the key uses against a limit of `most` in a `period` of seconds.

        `what` is a plural noun, such as "requests". Errors show it.

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
        """Counts in this process. Returns 0, or the seconds until the use may be within the limit.

        This is the approximation of a sliding window that the library `limits` has: fixed windows are counted, and the
        use in the window before counts by the share of it that is within the last `period` seconds.
        """
        clock_seconds = time.monotonic()
        number = clock_seconds // period
        window = self._windows.get((identifier, what), Window(number, use_before=0, use=0))
        if number > window.number:
            use_before = window.use if number == window.number + 1 else 0
            window = Window(number, use_before, use=0)
        seconds_left = period - clock_seconds % period
        use_of_window_before = int(window.use_before * seconds_left / period)
        if use_of_window_before + window.use + cost > most:
            if window.use_before == 0:
                return max(1, seconds_left)
            # `use_of_window_before` falls by one each time that `seconds_left` becomes a multiple of `seconds_per_use`.
            # The remainder is the time until then.
            seconds_per_use = period / window.use_before
            return max(1, seconds_left % seconds_per_use)
        self._windows[identifier, what] = window._replace(use=window.use + cost)
        return 0
