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
# Length of the warm-up before the measured window of a load, as a share of the window's length.
WARMUP_SHARE = 0.2
# A request without an answer for so long has failed.
REQUEST_SECONDS = 60.0
# A server that falls behind has these seconds after the last arrival.
DRAIN_SECONDS = 20.0
# Connections at once. Further requests wait in the client, because file descriptors are limited.
MAX_CONNECTIONS = 512
# Uvicorn closes connections that were idle for 5 seconds, and a POST on a closed one is an error. The client closes
# them before.
IDLE_SECONDS = 4.0
# Characters of an error answer that are shown.
DETAIL_CHARACTERS = 200
# Sentences of a workload with facts.
FACT_SENTENCES = 200
# The generation options that all servers have.
OPTIONS = ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size", "min_new_tokens", "max_new_tokens")

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    text: str
    options: GenerationOptions

    @cached_property
    def body(self) -> dict[str, Any]:
        body = {"text": self.text, **self.options.model_dump(include=set(OPTIONS))}
        if self.options.min_new_tokens == self.options.max_new_tokens:
            # An output of forced length repeats itself. Slimseq would repair it by a second generation, which no other
            # server does.
            body["repair"] = False
        return body


# Sends one request. Returns the number of tokens of the answer, or raises.
Send = Callable[[Request], Awaitable[int]]


def make_requests(
    manifest: Manifest,
    tokens: tuple[int, int] = (0, 0),
    num_beams: int | None = None,
    with_facts: bool = False,
) -> list[Request]:
    """Makes requests, a short one and a long one in turns: the shorter half of the texts is short, the other one long.

    Args:
        manifest: of the variant that answers.
        tokens: the length of all outputs for short texts and for long ones, so that all servers do the same work.
            0 sets no length.
        num_beams: None takes the variant's own.
        with_facts: whether texts are English sentences with numbers, dates and addresses, and not the bundled texts.
    """
    generation = manifest.generation
    if with_facts:
        texts = [each.text for each in sentences(FACT_SENTENCES, seed=0) if each.kind not in ("code", "tag")]
    else:
        texts = [example.source for example in load_examples(manifest.task, BUNDLED).examples]
    texts.sort(key=len)
    half = len(texts) // 2

    def options_of(length: int) -> GenerationOptions:
        length = min(length, generation.max_new_tokens)
        lengths = {"min_new_tokens": length, "max_new_tokens": length} if length else {}
        return generation.options(num_beams=num_beams, **lengths)

    short, long = map(options_of, tokens)
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
        """Returns the outcome with times since `window`, a time of the same clock."""
        return replace(self, sent=self.sent - window, ended=self.ended - window)


@dataclass(frozen=True)
class Figures:
    """What a server did under one load.

    Args:
        requests_per_second: answers within the window, divided by its length.
        tokens_per_second: output tokens of the same answers.
        p50_ms: median latency of all answered requests that were open within the window, whenever they were sent. So a
            request that waits for longer than the window counts. None if there were none.
        p95_ms: the 95th percentile of the same latencies.
        answered: number of these latencies.
        errors: number of requests that failed or had no answer in time.
        first_error: of the first of them.
        loop_cpu_ms: CPU time of the event loop's thread divided by the answers of the whole load, with its warm-up.
            None where it is unknown.
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
    """Sums up the outcomes of a load whose window has this length."""
    within = [each for each in outcomes if each.error is None and 0 <= each.ended < seconds]
    latencies = [each.ended - each.sent for each in outcomes if each.error is None and each.ended >= 0]
    errors = [each.error for each in outcomes if each.error is not None]
    return Figures(
        requests_per_second=len(within) / seconds,
        tokens_per_second=sum(each.tokens for each in within) / seconds,
        p50_ms=percentile_ms(latencies, 50),
        p95_ms=percentile_ms(latencies, 95),
        answered=len(latencies),
        errors=len(errors),
        first_error=errors[0] if errors else None,
    )


def percentile_ms(seconds: Sequence[float], percentile: float) -> float | None:
    return float(np.percentile(seconds, percentile)) * MILLISECONDS if seconds else None


@dataclass(frozen=True)
class Client:
    """The client of a running server. Its loads post `requests` to `path`, one after the other, and begin again."""

    port: int
    path: str = "/"
    requests: Sequence[Request] = ()
    process_id: int | None = None

    def closed(self, clients: int, seconds: float) -> Figures:
        """Measures the server under clients that each wait for their answer before they send the next request."""
        return self._measure(lambda send: closed_loop(send, self.requests, clients, seconds), seconds)

    def poisson(self, rate: float, seconds: float) -> Figures:
        """Measures the server under `rate` requests a second, which arrive as a Poisson process."""
        return self._measure(lambda send: poisson(send, self.requests, rate, seconds), seconds)

    def _measure(self, load: Callable[[Send], Awaitable[list[Outcome]]], seconds: float) -> Figures:
        seconds_before = self.loop_seconds()
        outcomes = self.run(load)
        measured = figures(outcomes, seconds)
        seconds_after = self.loop_seconds()
        if seconds_before is None or seconds_after is None or not outcomes or measured.errors:
            return measured
        return replace(measured, loop_cpu_ms=(seconds_after - seconds_before) / len(outcomes) * MILLISECONDS)

    def loop_seconds(self) -> float | None:
        """CPU time of the server's main thread, in which uvicorn has its event loop."""
        threads = psutil.Process(self.process_id).threads() if self.process_id else []
        return next((each.user_time + each.system_time for each in threads if each.id == self.process_id), None)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Returns the JSON answer to one request. Raises `BenchmarkFailed` without one."""

        async def once() -> Any:
            async with session(self.port) as connections:
                return await answer(connections, method, path, body)

        try:
            return asyncio.run(once())
        except (aiohttp.ClientError, OSError) as error:
            raise BenchmarkFailed(f"{path}: {error or type(error).__name__}") from error

    def run(self, load: Callable[[Send], Awaitable[T]]) -> T:
        """Runs a load with open connections. The load gets the function that sends a request."""

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

    The window begins when a fifth of its length is over and each client has one answer. So the server is equally busy
    at the beginning of the window and at its end. At the end, open requests are awaited.
    """
    started = time.perf_counter()
    positions = count()
    # When the first request of each client ended.
    first_ends: list[float] = []

    def window() -> float:
        """Returns when the window begins: never, as long as a client has no answer."""
        if len(first_ends) < clients:
            return math.inf
        return max(first_ends[-1], started + seconds * WARMUP_SHARE)

    async def client() -> list[Outcome]:
        outcomes: list[Outcome] = []
        while (now := time.perf_counter()) < window() + seconds:
            request = requests[next(positions) % len(requests)]
            outcomes.append(await outcome(send, request, now))
            if len(outcomes) == 1:
                first_ends.append(outcomes[0].ended)
        return outcomes

    outcomes_by_client = await asyncio.gather(*(client() for _ in range(clients)))
    return [each.since(window()) for outcomes in outcomes_by_client for each in outcomes]


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """The seconds at which requests of a Poisson process arrive, `rate` a second on average."""
    # Twice as many gaps as needed on average, and 50 for short loads, so that they are never too few.
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
    """Sends a request and returns its outcome, also for an error. `sent` is when the request was due."""
    error, tokens = None, 0
    try:
        async with asyncio.timeout(min(limit_seconds, REQUEST_SECONDS)):
            tokens = await send(request)
    except TimeoutError:
        error = "no answer in time"
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Outcome(sent, time.perf_counter(), tokens, error)
