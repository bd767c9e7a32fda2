"""A load generator: clients that each wait for their answer, or requests that arrive as a Poisson process.

Requests are short and long texts of the bundled sample, sent with aiohttp (docs/decisions/012-benchmarks.md says why).
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, cycle
from typing import Any, TypeVar

import aiohttp
import numpy as np
import psutil

from benchmarks.command import MILLISECONDS, BenchmarkFailed
from benchmarks.texts.faithful_sentences import sentences
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Manifest

HOST = "127.0.0.1"
# Of a load, before its window begins.
WARMUP_SHARE = 0.2
REQUEST_SECONDS = 60.0
# A server that falls behind has these seconds after the last arrival.
DRAIN_SECONDS = 20.0
# More requests wait in the client, because file descriptors are limited.
MAX_CONNECTIONS = 512
# Uvicorn closes connections that were idle for 5 seconds, and a POST on a closed one is an error.
IDLE_SECONDS = 4.0
DETAIL_CHARACTERS = 200
FACT_SENTENCES = 200
# The options that all servers have.
OPTIONS = ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size", "min_new_tokens", "max_new_tokens")

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    text: str
    options: GenerationOptions

    @cached_property
    def body(self) -> dict[str, Any]:
        # An output of forced length repeats itself, and no other server would try it again.
        own = {"repair": False} if self.options.min_new_tokens == self.options.max_new_tokens else {}
        return {"text": self.text, **own, **self.options.model_dump(include=set(OPTIONS))}


# Sends one request. Returns the number of tokens of the answer, or raises.
Send = Callable[[Request], Awaitable[int]]


def make_requests(
    manifest: Manifest,
    tokens: tuple[int, int] = (0, 0),
    num_beams: int | None = None,
    with_facts: bool = False,
) -> list[Request]:
    """Makes requests, a short and a long one in turns: half of the texts are short, the longer half is long.

    Every short and every long output has as many `tokens`, so that all servers do the same work; 0 sets no length. With
    facts, texts are English sentences with numbers, dates and addresses instead of the bundled ones.
    """
    generation = manifest.generation
    if with_facts:
        texts = [each.text for each in sentences(FACT_SENTENCES, seed=0) if each.kind not in ("code", "tag")]
    else:
        texts = [example.source for example in load_examples(manifest.task, BUNDLED).examples]
    texts.sort(key=len)
    half = len(texts) // 2

    def options(length: int) -> GenerationOptions:
        length = min(length, generation.max_new_tokens)
        lengths = {"min_new_tokens": length, "max_new_tokens": length} if length else {}
        return generation.options(num_beams=num_beams, **lengths)

    short, long = map(options, tokens)
    pairs = zip(texts[:half], texts[-half:], strict=True)
    return [each for first, second in pairs for each in (Request(first, short), Request(second, long))]


@dataclass(frozen=True)
class Outcome:
    """The result of one request. Times are seconds since the window of its load began, negative before that."""

    sent: float
    ended: float
    tokens: int = 0
    error: str | None = None

    def since(self, window: float) -> "Outcome":
        return replace(self, sent=self.sent - window, ended=self.ended - window)


@dataclass(frozen=True)
class Figures:
    """What a server did under one load.

    Args:
        requests_per_second: answered within the window; `tokens_per_second` is of these answers.
        p50_ms: median latency of all answered requests that were open within the window, whenever they were sent, so
            that one that waits for longer than the window counts. None if there were none.
        answered: number of requests that the percentiles are of.
        errors: number of requests that failed or had no answer in time; `first_error` is of the first.
        loop_cpu_ms: CPU time of the event loop's thread for an answer of the whole load, None where it is unknown.
    """

    requests_per_second: float
    tokens_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    answered: int
    errors: int
    first_error: str | None = None
    loop_cpu_ms: float | None = None


def figures(outcomes: Sequence[Outcome], seconds: float) -> Figures:
    within = [each for each in outcomes if each.error is None and 0 <= each.ended < seconds]
    latencies = [each.ended - each.sent for each in outcomes if each.error is None and each.ended >= 0]
    errors = [each.error for each in outcomes if each.error is not None]
    speeds = len(within) / seconds, sum(each.tokens for each in within) / seconds
    percentiles = percentile_ms(latencies, 50), percentile_ms(latencies, 95)
    return Figures(*speeds, *percentiles, len(latencies), len(errors), errors[0] if errors else None)


def percentile_ms(seconds: Sequence[float], percentile: float) -> float | None:
    return float(np.percentile(seconds, percentile)) * MILLISECONDS if seconds else None


@dataclass(frozen=True)
class Client:
    """The client of a running server. Its loads post the requests to `path`, in turns."""

    port: int
    path: str = "/"
    requests: Sequence[Request] = ()
    process_id: int | None = None

    def closed(self, clients: int, seconds: float) -> Figures:
        return self._measure(lambda send: closed_loop(send, self.requests, clients, seconds), seconds)

    def poisson(self, rate: float, seconds: float) -> Figures:
        return self._measure(lambda send: poisson(send, self.requests, rate, seconds), seconds)

    def _measure(self, load: Callable[[Send], Awaitable[list[Outcome]]], seconds: float) -> Figures:
        before = self.loop_seconds()
        outcomes = self.run(load)
        found, after = figures(outcomes, seconds), self.loop_seconds()
        if before is None or after is None or not outcomes or found.errors:
            return found
        return replace(found, loop_cpu_ms=(after - before) / len(outcomes) * MILLISECONDS)

    def loop_seconds(self) -> float | None:
        """CPU time of the server's main thread, in which uvicorn has its event loop."""
        threads = psutil.Process(self.process_id).threads() if self.process_id else []
        return next((each.user_time + each.system_time for each in threads if each.id == self.process_id), None)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        async def once() -> Any:
            async with session(self.port) as connections:
                return await answer(connections, method, path, body)

        try:
            return asyncio.run(once())
        except (aiohttp.ClientError, OSError) as error:
            raise BenchmarkFailed(f"{path}: {error or type(error).__name__}") from error

    def run(self, load: Callable[[Send], Awaitable[T]]) -> T:
        async def connected() -> T:
            async with session(self.port) as connections:

                async def send(request: Request) -> int:
                    outputs = (await answer(connections, "POST", self.path, request.body))["outputs"]
                    return sum(output["output_tokens"] for output in outputs)

                return await load(send)

        return asyncio.run(connected())


def session(port: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
    timeout = aiohttp.ClientTimeout(total=2 * REQUEST_SECONDS)
    return aiohttp.ClientSession(f"http://{HOST}:{port}", connector=connector, timeout=timeout)


async def answer(connections: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
    async with connections.request(method, path, json=body) as response:
        if response.ok:
            return await response.json(content_type=None)
        detail = (await response.text())[:DETAIL_CHARACTERS]
        raise BenchmarkFailed(f"{path}: status {response.status}: {detail}")


async def closed_loop(send: Send, requests: Sequence[Request], clients: int, seconds: float) -> list[Outcome]:
    """Lets each client send one request after the other and wait for its answer. Returns all outcomes.

    The window begins after a fifth of its length and one answer for each client: earlier, requests that the server has
    begun would count less at the beginning of the window than at its end. Open requests are awaited at its end.
    """
    started, places = time.perf_counter(), count()
    # When the first request of each client ended.
    first: list[float] = []

    def window() -> float:
        return max(first[-1], started + seconds * WARMUP_SHARE) if len(first) == clients else math.inf

    async def client() -> list[Outcome]:
        found: list[Outcome] = []
        while (now := time.perf_counter()) < window() + seconds:
            found.append(await outcome(send, requests[next(places) % len(requests)], now))
            if len(found) == 1:
                first.append(found[0].ended)
        return found

    found = await asyncio.gather(*(client() for _ in range(clients)))
    return [each.since(window()) for outcomes in found for each in outcomes]


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """The seconds at which requests of a Poisson process arrive, `rate` a second on average."""
    # Twice as many as should arrive: never too few.
    gaps = np.random.default_rng(seed).exponential(1 / rate, size=round(2 * rate * seconds) + 50)
    return [float(time) for time in np.cumsum(gaps) if time < seconds]


async def poisson(send: Send, requests: Sequence[Request], rate: float, seconds: float, seed: int = 0) -> list[Outcome]:
    """Sends requests at the times of a Poisson process, whether or not earlier ones are answered.

    Returns all outcomes. The latency of each begins when the request was due, so that a delay of this client counts.
    """
    window = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        running = []
        for request, due in zip(cycle(requests), arrivals(rate, seconds, seed), strict=False):
            await asyncio.sleep(max(window + due - time.perf_counter(), 0))
            limit = window + seconds + DRAIN_SECONDS - time.perf_counter()
            running.append(group.create_task(outcome(send, request, window + due, limit)))
    return [task.result().since(window) for task in running]


async def outcome(send: Send, request: Request, sent: float, limit_seconds: float = REQUEST_SECONDS) -> Outcome:
    error, tokens = None, 0
    try:
        async with asyncio.timeout(min(limit_seconds, REQUEST_SECONDS)):
            tokens = await send(request)
    except TimeoutError:
        error = "no answer in time"
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Outcome(sent, time.perf_counter(), tokens, error)
