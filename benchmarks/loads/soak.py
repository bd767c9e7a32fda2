"""A service under a constant load for minutes, and short texts beside long ones."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import aiohttp

from benchmarks.command import BenchmarkFailed, Record
from benchmarks.loads.load import (
    WARMUP_SHARE,
    Client,
    Outcome,
    Send,
    answer,
    closed_loop,
    figures,
    percentile_ms,
    poisson,
    session,
)

MINUTE_SECONDS = 60.0
MEMORY_SECONDS = 5.0
# On a machine that others use too, seconds are faster or slower than the minutes that follow.
CAPACITY_WINDOWS = 5
# Short texts arrive at a rate, so that every server gets as many, whatever their latency.
SHORTS_A_SECOND = 4.0
LONG_CLIENTS = 8
MIXED_TOKENS = (16, 192)


def soak(client: Client, clients: int, share: float, window: float, seconds: float) -> Record:
    """Keeps a service under a share of its own capacity, and reads `GET /memory` meanwhile.

    Args:
        client: of the service.
        clients: that wait for their answers while the capacity is measured.
        share: of the capacity, for the rate of arrivals.
        window: seconds of each measurement of the capacity.
        seconds: length of the load.

    Returns:
        `capacities` by window in answers a second, the `rate` of arrivals, and what `by_minute` returns.

    Raises:
        BenchmarkFailed: the service answers nothing.
    """
    capacities = [client.closed(clients, window).requests_per_second for _ in range(CAPACITY_WINDOWS)]
    rate = share * median(capacities)
    if not rate:
        raise BenchmarkFailed("the service answered nothing, so its capacity is unknown")
    resident: list[tuple[float, int]] = []

    async def watch_memory() -> None:
        started = time.monotonic()
        async with session(client.port) as connections:
            while True:
                try:
                    held = (await answer(connections, "GET", "/memory"))["process_resident_bytes"]
                    resident.append((round(time.monotonic() - started, 1), int(held)))
                except (aiohttp.ClientError, OSError, BenchmarkFailed):
                    # The errors of the load show a service that does not answer.
                    pass
                await asyncio.sleep(MEMORY_SECONDS)

    async def load(send: Send) -> list[Outcome]:
        watch = asyncio.create_task(watch_memory())
        try:
            return await poisson(send, client.requests, rate, seconds)
        finally:
            watch.cancel()

    return {"capacities": capacities, "rate": rate, **by_minute(client.run(load), resident, seconds)}


def by_minute(outcomes: Sequence[Outcome], resident: list[tuple[float, int]], seconds: float) -> Record:
    """Returns the figures of a load by whole minutes.

    Args:
        outcomes: of the requests.
        resident: seconds since the start, and the bytes that the service's process held in RAM.
        seconds: length of the load.

    Returns:
        `p95_ms` by the minute in which requests arrived (None for one without answers), `p95_ratio` of the last minute
        to the second, `resident_bytes` as given, `resident_ratio` of their medians, and the number of `errors`. Ratios
        are None if there is no third minute.
    """
    minutes = int(seconds // MINUTE_SECONDS)

    def split(values: Sequence[tuple[float, float]]) -> list[list[float]]:
        return [[value for at, value in values if at // MINUTE_SECONDS == minute] for minute in range(minutes)]

    def last_over_second(values: Sequence[float | None]) -> float | None:
        # The first minute is for warming up.
        if len(values) < 3 or not values[1] or values[-1] is None:
            return None
        return values[-1] / values[1]

    answered = [each for each in outcomes if each.error is None]
    p95 = [percentile_ms(each, 95) for each in split([(each.sent, each.ended - each.sent) for each in answered])]
    held = [median(each) if each else None for each in split(resident)]
    return {
        "p95_ms": p95,
        "p95_ratio": last_over_second(p95),
        "resident_bytes": resident,
        "resident_ratio": last_over_second(held),
        "errors": len(outcomes) - len(answered),
    }


def mixed(client: Client, seconds: float) -> Record:
    """Returns a server's figures for short texts alone, for short ones beside long ones, and for these long ones."""
    short, long = ([each for each in client.requests if each.kind == kind] for kind in ("short", "long"))

    async def shorts(send: Send) -> list[Outcome]:
        await asyncio.sleep(seconds * WARMUP_SHARE)
        return await poisson(send, short, SHORTS_A_SECOND, seconds)

    async def both(send: Send) -> tuple[list[Outcome], list[Outcome]]:
        return await asyncio.gather(shorts(send), closed_loop(send, long, LONG_CLIENTS, seconds))

    alone = replace(client, requests=short).poisson(SHORTS_A_SECOND, seconds)
    beside, others = client.run(both)
    return {"alone": alone, "beside": figures(beside, seconds), "long": figures(others, seconds)}
