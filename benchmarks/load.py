"""Puts a server under load: clients that each wait for their answer, or requests that arrive as a Poisson process.

Requests go through aiohttp (docs/decisions/012-benchmarks.md says why); a load decides when each is sent and keeps what
became of it.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar

import aiohttp
import numpy as np

from benchmarks.command import BenchmarkFailed
from benchmarks.workload import Ask

T = TypeVar("T")
# Sends one request; returns how many tokens were written, or raises.
Send = Callable[[Ask], Awaitable[int]]

HOST = "127.0.0.1"
MILLISECONDS = 1000.0
RAMP_SHARE = 0.2
REQUEST_SECONDS = 60.0
# What a server that falls behind gets after the last arrival.
DRAIN_SECONDS = 20.0
# Arrivals beyond so many open requests are errors: file descriptors have an end.
MOST_OPEN = 512
# Uvicorn ends connections that were idle for 5 seconds, and a POST on one that just ended would be an error.
IDLE_SECONDS = 4.0
DETAIL_CHARACTERS = 200


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


@dataclass(frozen=True)
class Figures:
    """What a server did under one load.

    Args:
        requests_per_second: answered within the window; `tokens_per_second` were written in these answers.
        p50_ms: median of the latency of all requests that were open within the window and answered, whenever they were
            sent: what waits for longer than the window lasts must not vanish. None where there were none.
        answered: how many requests this percentile and the others are of.
        errors: how many requests failed, or had no answer in time; `first_error` is the first one's.
    """

    requests_per_second: float
    tokens_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    answered: int
    errors: int
    first_error: str | None = None


def figures(outcomes: Sequence[Outcome], seconds: float) -> Figures:
    """Returns the figures of a load whose window had so many seconds."""
    within = [each for each in outcomes if each.error is None and 0 <= each.ended < seconds]
    latencies = [each.ended - each.asked for each in outcomes if each.error is None and each.ended >= 0]
    errors = [each.error for each in outcomes if each.error is not None]
    tokens = sum(each.tokens for each in within)
    p50, p95, p99 = (percentile_ms(latencies, percentile) for percentile in (50, 95, 99))
    first_error = errors[0] if errors else None
    speeds = len(within) / seconds, tokens / seconds
    return Figures(*speeds, p50, p95, p99, len(latencies), len(errors), first_error)


def percentile_ms(seconds: Sequence[float], percentile: float) -> float | None:
    """Returns a percentile of durations in milliseconds, linear between two of them; None where there are none."""
    return float(np.percentile(seconds, percentile)) * MILLISECONDS if seconds else None


@dataclass(frozen=True)
class Client:
    """Where a running server is, and what generations are posted to."""

    port: int
    path: str = "/"

    def closed(self, asks: Sequence[Ask], clients: int, seconds: float) -> Figures:
        """Returns the figures under clients that each wait for their answer."""
        return figures(self.run(lambda send: closed_loop(send, asks, clients, seconds)), seconds)

    def poisson(self, asks: Sequence[Ask], rate: float, seconds: float) -> Figures:
        """Returns the figures under requests that arrive at a rate, whatever the server does."""
        return figures(self.run(lambda send: poisson(send, asks, rate, seconds)), seconds)

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """Sends one request with a JSON body, and a bearer token if there is one; returns the answer's value.

        Raises:
            BenchmarkFailed: the server cannot be reached, or refuses.
        """

        async def once() -> Any:
            headers = {"Authorization": f"Bearer {token}"} if token else None
            async with session(self.port) as connections:
                return await answer(connections, method, path, body, headers)

        try:
            return asyncio.run(once())
        except (aiohttp.ClientError, OSError) as error:
            raise BenchmarkFailed(f"{path}: {error or type(error).__name__}") from error

    def is_ready(self, path: str) -> bool:
        """Whether a path answers with success."""
        try:
            self.call("GET", path)
        except BenchmarkFailed:
            return False
        return True

    def run(self, load: Callable[[Send], Awaitable[T]]) -> T:
        """Runs a load on an event loop and connections of its own."""

        async def connected() -> T:
            async with session(self.port) as connections:

                async def send(ask: Ask) -> int:
                    outputs = (await answer(connections, "POST", self.path, ask.body))["outputs"]
                    return sum(output["output_tokens"] for output in outputs)

                return await load(send)

        return asyncio.run(connected())


def session(port: int) -> aiohttp.ClientSession:
    """Returns as many connections to a server as there are requests at once."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
    timeout = aiohttp.ClientTimeout(total=2 * REQUEST_SECONDS)
    return aiohttp.ClientSession(f"http://{HOST}:{port}", connector=connector, timeout=timeout)


async def answer(
    connections: aiohttp.ClientSession, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Any:
    """Returns the JSON value of an answer.

    Raises:
        BenchmarkFailed: the server refuses.
        aiohttp.ClientError, OSError: it cannot be reached, or ends the connection before its answer is whole.
    """
    async with connections.request(method, path, json=body, headers=headers) as response:
        if response.ok:
            return await response.json(content_type=None)
        detail = (await response.text())[:DETAIL_CHARACTERS]
        raise BenchmarkFailed(f"{path}: status {response.status}: {detail}")


async def closed_loop(send: Send, asks: Sequence[Ask], clients: int, seconds: float) -> list[Outcome]:
    """Lets clients send one request after the other, each waiting for its answer; returns all outcomes.

    The window of so many seconds begins after a fifth of its length and an answer for each client: sooner, what the
    server has begun would weigh less at the window's beginning than at its end. Open requests are awaited at its end.
    """
    started, turns = time.perf_counter(), count()
    # When each client's first request ended.
    first: list[float] = []

    def begins() -> float:
        return max(first[-1], started + seconds * RAMP_SHARE) if len(first) == clients else math.inf

    async def client() -> list[Outcome]:
        found: list[Outcome] = []
        while (asked := time.perf_counter()) < begins() + seconds:
            found.append(await outcome(send, asks[next(turns) % len(asks)], asked))
            if len(found) == 1:
                first.append(found[0].ended)
        return found

    outcomes = [each for found in await asyncio.gather(*(client() for _ in range(clients))) for each in found]
    return [each.since(begins()) for each in outcomes]


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Returns the seconds at which requests of a Poisson process arrive, `rate` a second on average."""
    generator = np.random.default_rng(seed)
    times: list[float] = []
    now = generator.exponential(1 / rate)
    while now < seconds:
        times.append(float(now))
        now += generator.exponential(1 / rate)
    return times


async def poisson(send: Send, asks: Sequence[Ask], rate: float, seconds: float, seed: int = 0) -> list[Outcome]:
    """Sends requests at the times of a Poisson process, whether or not earlier ones are answered.

    All outcomes are returned. Each counts from when its request was due, so that a load that falls behind shows.
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
        task = asyncio.create_task(outcome(send, ask, window + arrival, limit))
        running.add(task)
        task.add_done_callback(ended)
    while running:
        await asyncio.wait(running)
    return found


async def outcome(send: Send, ask: Ask, asked: float, limit_seconds: float = REQUEST_SECONDS) -> Outcome:
    """Sends a request and returns what became of it, by the clock's times."""
    error, tokens = None, 0
    try:
        async with asyncio.timeout(min(limit_seconds, REQUEST_SECONDS)):
            tokens = await send(ask)
    except TimeoutError:
        error = "no answer in time"
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Outcome(ask.kind, asked, time.perf_counter(), tokens, error)
