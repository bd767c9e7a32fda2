"""Puts a server under load: clients that each wait for their answer, or requests that arrive when they please.

What is sent and how is the caller's: a load only decides when, and keeps what became of each request.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from benchmarks.workload import Ask

# Sends one request; returns how many tokens were written, or raises.
Send = Callable[[Ask], Awaitable[int]]

RAMP_SHARE = 0.2
REQUEST_SECONDS = 60.0
# What a server that falls behind gets after the last arrival.
DRAIN_SECONDS = 20.0
# Arrivals beyond so many open requests are errors: file descriptors have an end.
MOST_OPEN = 512


@dataclass(frozen=True)
class Outcome:
    """What became of one request. Times are seconds since its load's window began; earlier ones are negative."""

    kind: str
    asked: float
    ended: float
    tokens: int = 0
    error: str | None = None

    def since(self, window: float) -> "Outcome":
        """Returns the same with times that count from a window's beginning."""
        return replace(self, asked=self.asked - window, ended=self.ended - window)


async def closed_loop(send: Send, asks: Sequence[Ask], clients: int, seconds: float) -> list[Outcome]:
    """Lets clients ask one request after the other, each waiting for its answer.

    The window begins after a fifth of its length and an answer for each client: sooner, what the server has begun would
    weigh less at the window's beginning than at its end. After that, requests on their way are awaited.

    Args:
        send: sends one request.
        asks: what to ask in turns, whichever client is free.
        clients: how many ask at once.
        seconds: length of the window.

    Returns:
        All outcomes, those of the ramp with negative times.
    """
    started, turns = time.perf_counter(), count()
    # When each client's first request ended.
    first: list[float] = []

    def begins() -> float:
        return max(first[-1], started + seconds * RAMP_SHARE) if len(first) == clients else math.inf

    async def client() -> list[Outcome]:
        found: list[Outcome] = []
        while (asked := time.perf_counter()) < begins() + seconds:
            found.append(await _outcome(send, asks[next(turns) % len(asks)], asked))
            if len(found) == 1:
                first.append(found[0].ended)
        return found

    outcomes = [outcome for found in await asyncio.gather(*(client() for _ in range(clients))) for outcome in found]
    return [each.since(begins()) for each in outcomes]


async def by_turns(
    send: Send, ask: Ask, other: Callable[[], object], seconds: float
) -> tuple[list[Outcome], list[float]]:
    """Sends a request and does something else in turns, one at a time, so that both see the same machine.

    Args:
        send: sends one request.
        ask: what is asked, again and again.
        other: what is done in between, in this thread.
        seconds: how long; each has one turn at least.

    Returns:
        What became of the requests, and how many seconds each of the others took.
    """
    outcomes: list[Outcome] = []
    durations: list[float] = []
    ends = time.perf_counter() + seconds
    while not outcomes or time.perf_counter() < ends:
        outcomes.append(await _outcome(send, ask, time.perf_counter()))
        started = time.perf_counter()
        other()
        durations.append(time.perf_counter() - started)
    return outcomes, durations


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Returns the seconds at which requests of a Poisson process arrive.

    Args:
        rate: arrivals a second, on average.
        seconds: when the process ends.
        seed: the same one gives the same arrivals.
    """
    generator = np.random.default_rng(seed)
    times: list[float] = []
    now = generator.exponential(1 / rate)
    while now < seconds:
        times.append(float(now))
        now += generator.exponential(1 / rate)
    return times


async def poisson(send: Send, asks: Sequence[Ask], rate: float, seconds: float, seed: int = 0) -> list[Outcome]:
    """Sends requests at the times of a Poisson process, whether or not earlier ones are answered.

    Args:
        send: sends one request.
        asks: what to ask in turns.
        rate: requests a second.
        seconds: length of the window.
        seed: of the arrivals.

    Returns:
        All outcomes. Each counts from when its request was to be sent, so that a load that falls behind shows.
    """
    window = time.perf_counter()
    running: set[asyncio.Task[Outcome]] = set()
    found: list[Outcome] = []

    def ended(task: "asyncio.Task[Outcome]") -> None:
        running.discard(task)
        found.append(task.result().since(window))

    for place, arrival in enumerate(arrivals(rate, seconds, seed)):
        await asyncio.sleep(max(window + arrival - time.perf_counter(), 0))
        ask = asks[place % len(asks)]
        if len(running) >= MOST_OPEN:
            found.append(Outcome(ask.kind, arrival, arrival, error=f"{MOST_OPEN} requests are open already"))
            continue
        limit = window + seconds + DRAIN_SECONDS - time.perf_counter()
        task = asyncio.create_task(_outcome(send, ask, window + arrival, limit))
        running.add(task)
        task.add_done_callback(ended)
    while running:
        await asyncio.wait(running)
    return found


async def _outcome(send: Send, ask: Ask, asked: float, limit_seconds: float = REQUEST_SECONDS) -> Outcome:
    """Sends a request; its times are the clock's."""
    error, tokens = None, 0
    try:
        async with asyncio.timeout(min(limit_seconds, REQUEST_SECONDS)):
            tokens = await send(ask)
    except TimeoutError:
        error = "no answer in time"
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Outcome(ask.kind, asked, time.perf_counter(), tokens, error)
