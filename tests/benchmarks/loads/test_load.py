import asyncio
import contextlib
import time
from typing import Any, get_args

import aiohttp
import numpy as np
import pytest
import uvicorn

from benchmarks.command import BenchmarkFailed
from benchmarks.loads.load import (
    IDLE_SECONDS,
    OPTIONS,
    Kind,
    Outcome,
    Request,
    answer,
    arrivals,
    closed_loop,
    figures,
    make_requests,
    percentile_ms,
    poisson,
    session,
)
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

REQUESTS = [Request(kind, kind, GenerationOptions()) for kind in get_args(Kind)]


def test_arrivals_come_at_the_rate_without_memory_and_are_the_same_for_a_seed() -> None:
    times = arrivals(rate=50, seconds=200, seed=3)

    gaps = np.diff(times)
    assert len(times) == pytest.approx(50 * 200, rel=0.04)
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.04) and gaps.std() == pytest.approx(1 / 50, rel=0.06)
    assert times == sorted(times) and times[0] > 0 and times[-1] < 200
    assert times == arrivals(rate=50, seconds=200, seed=3) != arrivals(rate=50, seconds=200, seed=4)


def test_a_closed_loop_keeps_as_many_requests_open_as_there_are_clients() -> None:
    open_now, most = 0, 0

    async def send(request: Request) -> int:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.02)
        open_now -= 1
        return 5

    outcomes = asyncio.run(closed_loop(send, REQUESTS, clients=3, seconds=0.4))

    found = figures(outcomes, 0.4)
    assert most == 3 and open_now == 0
    assert any(each.sent < 0 for each in outcomes), "there is no ramp"
    assert 40 <= found.requests_per_second <= 150 and found.tokens_per_second == 5 * found.requests_per_second
    assert {each.kind for each in outcomes} == {"short", "long"}


def test_the_window_of_a_closed_loop_begins_once_each_client_has_an_answer() -> None:
    async def send(request: Request) -> int:
        await asyncio.sleep(0.2 if request.kind == "long" else 0.01)
        return 1

    outcomes = asyncio.run(closed_loop(send, REQUESTS, clients=2, seconds=0.1))

    first_long = min((each for each in outcomes if each.kind == "long"), key=lambda each: each.sent)
    assert first_long.ended == 0
    assert max(each.sent for each in outcomes) < 0.1


def test_arrivals_do_not_wait_for_a_slow_server_whose_delay_shows_in_its_latency() -> None:
    lock = asyncio.Lock()

    async def send(request: Request) -> int:
        async with lock:
            await asyncio.sleep(0.05)
        return 1

    outcomes = asyncio.run(poisson(send, REQUESTS, rate=60, seconds=0.5))

    found = figures(outcomes, 0.5)
    assert len(outcomes) == len(arrivals(60, 0.5)) == found.answered
    assert found.requests_per_second <= 21
    assert found.p99_ms is not None and found.p99_ms > 400


def test_failures_are_counted_with_what_the_first_says_and_have_no_latency() -> None:
    async def send(request: Request) -> int:
        if request.kind == "long":
            raise BenchmarkFailed("status 500")
        return 1

    outcomes = asyncio.run(poisson(send, REQUESTS, rate=100, seconds=0.2))

    found = figures(outcomes, 0.2)
    assert found.errors == len(outcomes) // 2 > 0
    assert found.answered == len(outcomes) - found.errors
    assert found.first_error == "BenchmarkFailed: status 500"


def test_figures_are_of_what_ended_within_the_window_and_percentiles_of_all_that_was_on_its_way_in_it() -> None:
    ramp = [Outcome("short", -0.5, -0.1, 7), Outcome("short", -0.2, 0.3, 7)]
    within = [Outcome("short", 0.1 * place, 0.1 * place + 0.01 * (place + 1), 7) for place in range(9)]
    after = [Outcome("short", 0.95, 2.95, 7)]

    found = figures([*ramp, *within, *after], seconds=1.0)

    assert found.requests_per_second == 10 and found.tokens_per_second == 70
    assert found.answered == 11 and found.errors == 0
    assert found.p50_ms == pytest.approx(60) and found.p99_ms == pytest.approx(500 + 0.9 * 1500)


def test_percentiles_are_linear_between_durations_and_none_of_nothing() -> None:
    assert percentile_ms([0.001, 0.002, 0.003, 0.004], 50) == pytest.approx(2.5)
    assert percentile_ms([0.1], 99) == pytest.approx(100)
    assert percentile_ms([], 95) is None


def test_the_workload_has_short_and_long_texts_in_turns_with_pinned_outputs_and_all_settings() -> None:
    manifest = Store(embedded_store()).manifest(Task.TRANSLATION, "original")

    requests = make_requests(manifest, (9, 10_000), num_beams=2, early_stopping=True)
    free = make_requests(manifest)

    assert [request.kind for request in requests[:4]] == ["short", "long", "short", "long"]
    assert max(len(request.text) for request in requests[::2]) <= min(len(request.text) for request in requests[1::2])
    body = requests[0].body
    assert set(body) == {"text", *OPTIONS} and body["num_beams"] == 2 and body["early_stopping"]
    assert body["min_new_tokens"] == body["max_new_tokens"] == 9
    assert requests[1].options.max_new_tokens == manifest.generation.max_new_tokens
    assert free[0].options == manifest.generation.options()


def test_connections_are_kept_and_made_anew_where_they_were_idle_for_long() -> None:
    served: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(0)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                served[-1] += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                # As Uvicorn does: a connection that is idle ends.
                asyncio.get_running_loop().call_later(0.5, writer.close)
        writer.close()

    async def ask() -> list[Any]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, session(server.sockets[0].getsockname()[1]) as connections:
            answers = [await answer(connections, "POST", "/", {}) for _ in range(3)]
            await asyncio.sleep(0.8)
            return [*answers, await answer(connections, "POST", "/", {})]

    assert asyncio.run(ask()) == [{}] * 4
    assert served == [3, 1]


def test_an_idle_connection_is_ended_before_the_service_ends_it() -> None:
    assert uvicorn.Config(app="").timeout_keep_alive > IDLE_SECONDS


def test_an_answer_that_breaks_off_is_an_error_at_once() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{")
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, session(server.sockets[0].getsockname()[1]) as connections:
            await answer(connections, "POST", "/", {})

    started = time.monotonic()
    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(ask())
    assert time.monotonic() - started < 5


def test_a_refusal_is_an_error_that_says_why() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\nno such variant")
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, session(server.sockets[0].getsockname()[1]) as connections:
            await answer(connections, "GET", "/here")

    with pytest.raises(BenchmarkFailed, match="/here: status 404: no such variant"):
        asyncio.run(ask())
