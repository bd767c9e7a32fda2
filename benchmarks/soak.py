"""Keeps a service under a constant load for long, and looks whether its latency or its memory grows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.client import Client
from benchmarks.connection import BadAnswer, Connections
from benchmarks.figures import percentile_ms
from benchmarks.load import Outcome, poisson
from benchmarks.workload import Ask

MINUTE_SECONDS = 60.0
SAMPLES_A_MINUTE = 12
# A machine that others use too has seconds of more and of less speed than the minutes that follow.
CAPACITY_WINDOWS = 5


@dataclass(frozen=True)
class Soak:
    """What a service did under a constant load.

    Args:
        capacities: answers a second for clients who wait, each window's; the rate is a share of their median.
        rate: requests a second that arrived, on average.
        p95_ms: 95th percentile of the latency, by the minute in which requests arrived; None for one without answers.
        p95_ratio: the last whole minute's by the second's, None where there is no third.
        resident_bytes: seconds since the start, and the bytes that the service's process held in RAM.
        resident_ratio: the last whole minute's median of them by the second's, None where there is no third: caches
            come and go with the requests, so that one moment's bytes say little.
        errors: requests that failed, or had no answer in time.
    """

    capacities: list[float]
    rate: float
    p95_ms: list[float | None]
    p95_ratio: float | None
    resident_bytes: list[tuple[float, int]]
    resident_ratio: float | None
    errors: int


def capacities(client: Client, asks: Sequence[Ask], clients: int, seconds: float) -> list[float]:
    """Returns the answers a second for clients who wait, in windows that follow each other."""
    return [client.closed(asks, clients, seconds).requests_per_second for _ in range(CAPACITY_WINDOWS)]


def soak(
    client: Client,
    asks: Sequence[Ask],
    capacities: Sequence[float],
    share: float,
    seconds: float,
    minute_seconds: float = MINUTE_SECONDS,
) -> Soak:
    """Puts a service under requests that arrive at a rate, and reads `GET /memory` meanwhile.

    Args:
        client: asks the service.
        asks: what to ask in turns.
        capacities: requests a second that it answers, by window.
        share: of their median, for the rate.
        seconds: how long.
        minute_seconds: the stretch of time that figures are of.
    """
    rate = share * median(capacities)

    async def work(connections: Connections) -> tuple[list[Outcome], list[tuple[float, int]]]:
        resident: list[tuple[float, int]] = []
        watch = asyncio.create_task(_watch(connections, resident, minute_seconds / SAMPLES_A_MINUTE))
        try:
            return await poisson(client.send_on(connections), asks, rate, seconds), resident
        finally:
            watch.cancel()

    outcomes, resident = client.run(work)
    p95 = p95_by_minute(outcomes, seconds, minute_seconds)
    minutes = int(seconds // minute_seconds)
    return Soak(
        capacities=list(capacities),
        rate=rate,
        p95_ms=p95,
        p95_ratio=last_by_second(p95),
        resident_bytes=resident,
        resident_ratio=last_by_second(median_by_minute(resident, minutes, minute_seconds)),
        errors=sum(each.error is not None for each in outcomes),
    )


def p95_by_minute(outcomes: Sequence[Outcome], seconds: float, minute_seconds: float) -> list[float | None]:
    """Returns the 95th percentile of the latency for each whole minute, of what arrived in it."""
    minutes: list[list[float]] = [[] for _ in range(int(seconds // minute_seconds))]
    for each in outcomes:
        place = int(each.asked // minute_seconds)
        if each.error is None and 0 <= place < len(minutes):
            minutes[place].append(each.ended - each.asked)
    return [percentile_ms(durations, 95) for durations in minutes]


def median_by_minute(resident: Sequence[tuple[float, int]], minutes: int, minute_seconds: float) -> list[float | None]:
    """Returns the median of each whole minute's bytes, None where none were read."""
    read: list[list[int]] = [[] for _ in range(minutes)]
    for at, held in resident:
        if at < minutes * minute_seconds:
            read[int(at // minute_seconds)].append(held)
    return [median(held) if held else None for held in read]


def last_by_second(figures: Sequence[float | None]) -> float | None:
    """Returns the last minute's figure by the second's: the first is for warming up."""
    if len(figures) < 3:
        return None
    second, last = figures[1], figures[-1]
    return last / second if last is not None and second else None


async def _watch(connections: Connections, resident: list[tuple[float, int]], every_seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    started = clock()
    while True:
        try:
            report = (await connections.get("/memory")).json
            resident.append((round(clock() - started, 1), int(report["process_resident_bytes"])))
        except (OSError, BadAnswer, ValueError, KeyError):
            # A service under load that does not answer shows in the load's errors.
            pass
        await asyncio.sleep(every_seconds)
