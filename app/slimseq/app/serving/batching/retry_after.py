"""The `Retry-After` of a full queue: when a rejected request has a good chance.

Clients that return compete with each other, and with the next requests of the clients that were served. So the queue
counts the rows that it has told to return and whose time has not come. A request is told to return once these rows and
the queue have been processed, at the measured rate, times `COMPETITION`.
"""

import math
import random
from collections import Counter

# A served client sends its next request at once, and takes the place that it made. With a queue for 64, clients that
# honour `Retry-After` then get two to four answers for each rejection (tests/app/serving/batching/test_retry_after.py).
COMPETITION = 2.0
# Clients that were rejected together return at different times.
JITTER = 0.25
MAX_SECONDS = 60


class RetryTimes:
    """Says when to return, and counts the rows that will."""

    def __init__(self) -> None:
        # Number of rows by the second at which they return. There are `MAX_SECONDS` seconds at most.
        self._returning: Counter[int] = Counter()

    def seconds(self, queued: int, rows: int, seconds_a_row: float, now: float) -> int:
        """Returns the seconds after which a rejected request should return.

        Args:
            queued: number of rows in the queue.
            rows: number of rows of the request.
            seconds_a_row: time in which the queue shrinks by a row.
            now: `time.monotonic()`.
        """
        for second in [second for second in self._returning if second < now]:
            del self._returning[second]
        ahead = queued + self._returning.total() + rows
        wanted = COMPETITION * ahead * seconds_a_row * random.uniform(1, 1 + JITTER)
        seconds = math.ceil(min(max(wanted, 1), MAX_SECONDS))
        self._returning[math.ceil(now) + seconds] += rows
        return seconds
