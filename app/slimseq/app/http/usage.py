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


class WindowLimit(NamedTuple):
    """A limit of what a key may use in a sliding window.

    Attributes:
        noun: what is counted, in the plural, such as "requests".
        amount: how much of it a key may use in the window.
        period: the length of the window in seconds, `MINUTE` or `DAY`.
    """

    noun: str
    amount: int
    period: int

    def __str__(self) -> str:
        period_in_words = "a minute" if self.period == MINUTE else "a day"
        return f"{self.amount} {self.noun} {period_in_words}"


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
        # The errors of Redis that does not answer.
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
            # One class, or a tuple of classes.
            errors_of_redis = storage.base_exceptions
            if not isinstance(errors_of_redis, tuple):
                errors_of_redis = (errors_of_redis,)
            self._failures = (OSError, StorageError, *errors_of_redis)
        # Time of `time.monotonic` until which Redis is not asked, after it failed.
        self._away_until = 0.0
        self._in_progress: Counter[str] = Counter()
        # The last window with use, by the key and what it uses.
        self._windows: dict[tuple[str, str], Window] = {}

    def begin(self, identifier: str, max_requests: int) -> None:
        """Counts a request in progress of a key, which may have `max_requests` at once, until `end`."""
        if self._in_progress[identifier] >= max_requests:
            raise KeyLimitReached(f"{max_requests} requests at once", BUSY_SECONDS)
        self._in_progress[identifier] += 1

    def end(self, identifier: str) -> None:
        self._in_progress[identifier] -= 1
        # Only keys with requests in progress take memory.
        if self._in_progress[identifier] <= 0:
            del self._in_progress[identifier]

    async def spend(self, identifier: str, cost: int, limit: WindowLimit) -> None:
        """Counts `cost` against a limit of a key.

        Raises:
            AboveKeyLimit: the cost alone is above the limit.
            KeyLimitReached: with this cost, the use would be above the limit now.
        """
        if cost > limit.amount:
            raise AboveKeyLimit(str(limit), cost)
        wait_seconds = await self._spend_anywhere(identifier, cost, limit)
        if wait_seconds > 0:
            raise KeyLimitReached(str(limit), min(math.ceil(wait_seconds), limit.period))

    async def _spend_anywhere(self, identifier: str, cost: int, limit: WindowLimit) -> float:
        """Counts in Redis, or in this process while Redis does not answer.

        Returns 0 if the cost was counted, else the seconds until the use may be within the limit.
        """
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return await self._spend_shared(identifier, cost, limit)
            except self._failures as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                reason = {"reason": str(error)}
                logger.warning("Redis does not answer: this process counts the use of keys for itself", extra=reason)
        return self._spend_here(identifier, cost, limit)

    async def _spend_shared(self, identifier: str, cost: int, limit: WindowLimit) -> float:
        """Counts in Redis. Returns what `_spend_anywhere` does, and raises one of `_failures` without an answer."""
        from limits import RateLimitItemPerSecond

        item = RateLimitItemPerSecond(limit.amount, limit.period)
        if await self._shared.hit(item, identifier, limit.noun, cost=cost):
            return 0
        reset_at, _ = await self._shared.get_window_stats(item, identifier, limit.noun)
        return max(1, float(reset_at) - time.time())

    def _spend_here(self, identifier: str, cost: int, limit: WindowLimit) -> float:
        """Counts in this process. Returns what `_spend_anywhere` does.

        This is the approximation of a sliding window that the library `limits` has: fixed windows are counted, and the
        use in the window before counts by the share of it that is within the last `period` seconds.
        """
        period = limit.period
        clock_seconds = time.monotonic()
        number = clock_seconds // period
        window = self._windows.get((identifier, limit.noun), Window(number, use_before=0, use=0))
        if number > window.number:
            use_before = window.use if number == window.number + 1 else 0
            window = Window(number, use_before, use=0)
        seconds_left = period - clock_seconds % period
        use_of_window_before = int(window.use_before * seconds_left / period)
        if use_of_window_before + window.use + cost > limit.amount:
            if window.use_before == 0:
                return max(1, seconds_left)
            # `use_of_window_before` falls by one each time that `seconds_left` becomes a multiple of `seconds_per_use`.
            # The remainder is the time until then.
            seconds_per_use = period / window.use_before
            return max(1, seconds_left % seconds_per_use)
        self._windows[identifier, limit.noun] = window._replace(use=window.use + cost)
        return 0
