"""Counts what each key uses: requests and characters a minute, evaluations a day, and requests in progress.

The library `limits` counts in sliding windows, in this process or in Redis. While Redis does not answer, this process
counts for itself. Requests in progress are those of this process.
"""

import logging
import math
import time
from collections import Counter

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from slimseq.app.errors import AboveKeyLimit, KeyLimitReached
from slimseq.app.http.keyring import Caller

NAMESPACE = "slimseq"
REDIS_SECONDS = 0.5
# Time in which Redis is not asked again after it failed.
AWAY_SECONDS = 5.0
BUSY_SECONDS = 1

logger = logging.getLogger(__name__)


class UsageCounter:
    """Counts the use of keys and refuses what is above their limits.

    Args:
        url: `redis://…` or `rediss://…`, to count together with other processes. None: this process alone.
    """

    def __init__(self, url: str | None = None) -> None:
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._failures: tuple[type[Exception], ...] = ()
        if url is not None:
            storage = RedisStorage(
                f"async+{url}",
                implementation="redispy",
                key_prefix=NAMESPACE,
                socket_timeout=REDIS_SECONDS,
                socket_connect_timeout=REDIS_SECONDS,
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)
            kinds = storage.base_exceptions
            self._failures = (OSError, StorageError, *(kinds if isinstance(kinds, tuple) else (kinds,)))
        self._away_until = 0.0
        self._in_progress: Counter[str] = Counter()

    def begin(self, identifier: str, most: int) -> None:
        if self._in_progress[identifier] >= most:
            raise KeyLimitReached(f"{most} requests at once", BUSY_SECONDS)
        self._in_progress[identifier] += 1

    async def spend(self, identifier: str, item: RateLimitItem, what: str, cost: int) -> None:
        """Counts `cost` of what the key uses, in the plural, against a limit.

        Raises:
            AboveKeyLimit: the use alone is above the limit.
            KeyLimitReached: the use would be above the limit now.
        """
        period = "a day" if item.get_expiry() > 60 else "a minute"
        if cost > item.amount:
            raise AboveKeyLimit(f"{item.amount} {what} {period}", cost)
        for limiter in (self._shared, self._own):
            if limiter is None or (limiter is self._shared and time.monotonic() < self._away_until):
                continue
            try:
                if await limiter.hit(item, identifier, what, cost=cost):
                    return
                reset, _ = await limiter.get_window_stats(item, identifier, what)
            except self._failures as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                logger.warning(
                    "Redis does not answer: this process counts the use of keys for itself",
                    extra={"reason": str(error)},
                )
                continue
            seconds = min(max(1, math.ceil(reset - time.time())), item.get_expiry())
            raise KeyLimitReached(f"{item.amount} {what} {period}", seconds)

    def end(self, identifier: str) -> None:
        self._in_progress -= Counter([identifier])


class Admission:
    """A request of a caller, and what it may use."""

    def __init__(self, caller: Caller, counter: UsageCounter) -> None:
        self.caller = caller
        self._counter = counter
        self._is_in_progress = False

    async def request(self) -> None:
        """Counts the request. Release it at its end."""
        identifier, limits = self.caller.identifier, self.caller.limits
        if identifier is None:
            return
        if limits.concurrent_requests is not None:
            self._counter.begin(identifier, limits.concurrent_requests)
            self._is_in_progress = True
        if limits.requests_per_minute is not None:
            await self._spend(RateLimitItemPerMinute(limits.requests_per_minute), "requests", 1)

    async def characters(self, number: int) -> None:
        """Counts the characters of a request. Raises as `UsageCounter.spend`, as the next."""
        if most := self.caller.limits.characters_per_minute:
            await self._spend(RateLimitItemPerMinute(most), "characters", number)

    async def evaluation(self) -> None:
        if most := self.caller.limits.evaluations_per_day:
            await self._spend(RateLimitItemPerDay(most), "evaluations", 1)

    async def _spend(self, item: RateLimitItem, what: str, cost: int) -> None:
        if self.caller.identifier is not None:
            await self._counter.spend(self.caller.identifier, item, what, cost)

    def release(self) -> None:
        """Ends the request. A second call does nothing."""
        if self._is_in_progress and self.caller.identifier is not None:
            self._is_in_progress = False
            self._counter.end(self.caller.identifier)
