import heapq
import itertools
from collections import Counter

import pytest

from slimseq.app.serving.batching.retry_after import MAX_SECONDS, RetryTimes

CLIENTS = 200
QUEUE_ROWS = 64


def simulated(rows_a_second: float, seconds: float, clients: int = CLIENTS) -> Counter[int]:
    """Counts the statuses that clients get of a queue. They send the next request at once, and honour `Retry-After`."""
    times, found, queue = RetryTimes(), Counter[int](), 0
    order = itertools.count()
    events = [(0.0, next(order), "arrives") for _ in range(clients)]
    events.append((1 / rows_a_second, next(order), "serves"))
    heapq.heapify(events)
    while events[0][0] < seconds:
        now, _, what = heapq.heappop(events)
        if what == "serves":
            heapq.heappush(events, (now + 1 / rows_a_second, next(order), "serves"))
            if queue:
                queue -= 1
                found[200] += 1
                heapq.heappush(events, (now, next(order), "arrives"))
        elif queue < QUEUE_ROWS:
            queue += 1
        else:
            found[429] += 1
            wait = times.seconds(queue, 1, 1 / rows_a_second, now)
            heapq.heappush(events, (now + wait, next(order), "arrives"))
    return found


@pytest.mark.parametrize("rows_a_second", [5, 20, 50, 100])
def test_clients_that_honour_retry_after_mostly_get_through_and_the_queue_never_runs_dry(rows_a_second: int) -> None:
    # In the first minutes of a slow queue most of the rejections are those of the crowd that came at once.
    seconds = max(300, 6000 / rows_a_second)
    statuses = simulated(rows_a_second, seconds)

    assert statuses[429] < statuses[200] / 2
    assert statuses[200] >= 0.99 * seconds * rows_a_second


def test_clients_that_are_rejected_together_return_one_after_the_other() -> None:
    times = RetryTimes()

    waits = [times.seconds(64, 1, 0.05, 1000.0) for _ in range(200)]

    assert waits[0] <= 9 and waits[-1] > 20
    assert max(Counter(waits).values()) < 30


def test_nobody_waits_for_clients_whose_time_has_come() -> None:
    times = RetryTimes()
    for _ in range(200):
        times.seconds(64, 1, 0.05, 1000.0)

    assert times.seconds(64, 1, 0.05, 1000.0 + MAX_SECONDS) <= 9


def test_nobody_waits_for_longer_than_a_minute() -> None:
    times = RetryTimes()

    assert max(times.seconds(4096, 4096, 1.0, 1000.0) for _ in range(10)) == MAX_SECONDS
