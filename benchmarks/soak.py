"""What a service does under a constant load for minutes, and with long texts beside short ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import aiohttp

from benchmarks.command import BenchmarkFailed
from benchmarks.load import (
    RAMP_SHARE,
    Client,
    Figures,
    Outcome,
    Send,
    answer,
    closed_loop,
    figures,
    percentile_ms,
    poisson,
    session,
)
from benchmarks.workload import Ask

MINUTE_SECONDS = 60.0
MEMORY_READS_A_MINUTE = 12
# A machine that others use too has seconds of more and of less speed than the minutes that follow.
CAPACITY_WINDOWS = 5
# Short ones arrive whether or not the last is answered: each server is asked as often, however long they wait.
SHORTS_A_SECOND = 4.0
LONG_CLIENTS = 8
MIXED_TOKENS = (16, 192)


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


def soak(client: Client, asks: Sequence[Ask], clients: int, share: float, window: float, seconds: float) -> Soak:
    """Keeps a service under a share of its own capacity, and reads `GET /memory` meanwhile.

    Args:
        client: of the service.
        asks: what to ask in turns.
        clients: how many wait for their answers while the capacity is measured.
        share: of the capacity, for the rate at which requests arrive.
        window: seconds of each measurement of the capacity.
        seconds: how long the load lasts.

    Raises:
        BenchmarkFailed: the service answers nothing.
    """
    capacities = [client.closed(asks, clients, window).requests_per_second for _ in range(CAPACITY_WINDOWS)]
    rate = share * median(capacities)
    if not rate:
        raise BenchmarkFailed("slimseq answered nothing that a capacity could be measured by")
    resident: list[tuple[float, int]] = []

    async def load(send: Send) -> list[Outcome]:
        async with session(client.port) as connections:
            watch = asyncio.create_task(_watch_memory(connections, resident))
            try:
                return await poisson(send, asks, rate, seconds)
            finally:
                watch.cancel()

    return soak_of(capacities, rate, client.run(load), resident, seconds)


def soak_of(
    capacities: list[float],
    rate: float,
    outcomes: Sequence[Outcome],
    resident: list[tuple[float, int]],
    seconds: float,
) -> Soak:
    """Returns the figures of a load of so many seconds, by whole minutes."""
    minutes = int(seconds // MINUTE_SECONDS)
    latencies = [(each.asked, each.ended - each.asked) for each in outcomes if each.error is None]
    p95 = [percentile_ms(each, 95) for each in _by_minute(latencies, minutes)]
    held = [median(each) if each else None for each in _by_minute(resident, minutes)]
    errors = sum(each.error is not None for each in outcomes)
    return Soak(capacities, rate, p95, _last_by_second(p95), resident, _last_by_second(held), errors)


def _by_minute(figures: Sequence[tuple[float, float]], minutes: int) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in range(minutes)]
    for at, figure in figures:
        if 0 <= at < minutes * MINUTE_SECONDS:
            found[int(at // MINUTE_SECONDS)].append(figure)
    return found


def _last_by_second(figures: Sequence[float | None]) -> float | None:
    # The first minute is for warming up.
    if len(figures) < 3:
        return None
    second, last = figures[1], figures[-1]
    return last / second if last is not None and second else None


async def _watch_memory(connections: aiohttp.ClientSession, resident: list[tuple[float, int]]) -> None:
    clock = asyncio.get_running_loop().time
    started = clock()
    while True:
        try:
            report = await answer(connections, "GET", "/memory")
            resident.append((round(clock() - started, 1), int(report["process_resident_bytes"])))
        except (aiohttp.ClientError, OSError, BenchmarkFailed):
            # A service under load that does not answer shows in the load's errors.
            pass
        await asyncio.sleep(MINUTE_SECONDS / MEMORY_READS_A_MINUTE)


@dataclass(frozen=True)
class Mixed:
    """What one server did with short texts, alone and beside long ones: continuous batching lets them in."""

    name: str
    description: str
    alone: Figures
    beside: Figures
    long: Figures


def mixed(client: Client, name: str, description: str, asks: Sequence[Ask], seconds: float) -> Mixed:
    """Measures one running server, with short and long requests, in two windows of so many seconds."""
    short, long = ([ask for ask in asks if ask.kind == kind] for kind in ("short", "long"))

    async def shorts(send: Send) -> list[Outcome]:
        await asyncio.sleep(seconds * RAMP_SHARE)
        return await poisson(send, short, SHORTS_A_SECOND, seconds)

    async def both(send: Send) -> tuple[list[Outcome], list[Outcome]]:
        return await asyncio.gather(shorts(send), closed_loop(send, long, LONG_CLIENTS, seconds))

    alone = client.poisson(short, SHORTS_A_SECOND, seconds)
    short_outcomes, long_outcomes = client.run(both)
    return Mixed(name, description, alone, figures(short_outcomes, seconds), figures(long_outcomes, seconds))
