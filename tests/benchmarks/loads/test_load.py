"""The load generator: arrivals, loads, their figures, and the requests of a workload."""

import asyncio

import numpy as np
import pytest

from benchmarks.loads.load import (
    OPTIONS,
    Outcome,
    Request,
    answer,
    arrivals,
    closed_loop,
    figures,
    make_requests,
    outcome,
    poisson,
    session,
)
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

REQUESTS = [Request(text, GenerationOptions()) for text in ("short", "long")]


def test_arrivals_are_a_poisson_process_and_the_same_for_a_seed() -> None:
    times = arrivals(rate=50, seconds=200, seed=3)

    # The gaps of a Poisson process have equal means and standard deviations.
    gaps = np.diff(times)
    assert len(times) == pytest.approx(50 * 200, rel=0.04)
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.04)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.06)
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 200
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
    assert most == 3
    assert open_now == 0
    assert any(each.sent < 0 for each in outcomes), "there is no warm-up before the window"
    # Three clients with 0.02 s a request send 150 a second at most. A busy machine sends fewer.
    assert 40 <= found.requests_per_second <= 150
    assert found.tokens_per_second == 5 * found.requests_per_second


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"200 OK\r\nContent-Length: 20\r\n\r\n{", "ClientPayloadError"),
        (b"404 Not Found\r\nContent-Length: 4\r\n\r\nnone", "BenchmarkFailed: /here: status 404: none"),
    ],
    ids=["breaks off", "refuses"],
)
def test_an_answer_that_breaks_off_or_refuses_is_an_error_and_no_answer(head: bytes, words: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + head)
        writer.close()

    async def ask() -> Outcome:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, session(server.sockets[0].getsockname()[1]) as connections:
            return await outcome(lambda request: answer(connections, "GET", "/here"), REQUESTS[0], 0.0)

    found = asyncio.run(ask())

    assert found.error is not None
    assert found.error.startswith(words)
    assert found.tokens == 0
    assert figures([found], 1.0).errors == 1


def test_arrivals_do_not_wait_for_a_slow_server_whose_delay_shows_in_its_latency() -> None:
    lock = asyncio.Lock()

    # One request after the other: 20 a second at most, of 60 that arrive.
    async def send(request: Request) -> int:
        async with lock:
            await asyncio.sleep(0.05)
        return 1

    outcomes = asyncio.run(poisson(send, REQUESTS, rate=60, seconds=0.5))

    found = figures(outcomes, 0.5)
    assert len(outcomes) == len(arrivals(60, 0.5)) == found.answered
    assert found.requests_per_second <= 21
    assert found.p95_ms is not None
    assert found.p95_ms > 400


def test_figures_are_of_what_ended_within_the_window_and_percentiles_of_all_that_was_on_its_way_in_it() -> None:
    ended_before, sent_before = Outcome(-0.5, -0.1, 7), Outcome(-0.2, 0.3, 7)
    # Nine with latencies of 10 to 90 ms.
    within = [Outcome(0.1 * place, 0.1 * place + 0.01 * (place + 1), 7) for place in range(9)]
    ended_after = Outcome(0.95, 2.95, 7)
    failed = Outcome(0.1, 0.2, error="BenchmarkFailed: status 500")

    found = figures([ended_before, sent_before, *within, ended_after, failed], seconds=1.0)

    # Of the nine and the one that was sent before.
    assert (found.requests_per_second, found.tokens_per_second) == (10, 70)
    assert (found.answered, found.errors, found.first_error) == (11, 1, "BenchmarkFailed: status 500")
    assert found.p50_ms == pytest.approx(60)
    # Between the two longest latencies, 500 and 2000 ms, in the middle.
    assert found.p95_ms == pytest.approx(500 + 0.5 * 1500)


def test_the_workload_has_short_and_long_texts_in_turns_with_pinned_outputs_and_all_settings() -> None:
    manifest = Store(embedded_store()).manifest(Task.TRANSLATION, "original")

    requests = make_requests(manifest, (9, 10_000), num_beams=2)
    free = make_requests(manifest)

    assert max(len(request.text) for request in requests[::2]) <= min(len(request.text) for request in requests[1::2])
    body = requests[0].body
    assert set(body) == {"text", "repair", *OPTIONS}
    assert body["num_beams"] == 2
    assert body["repair"] is False
    assert body["min_new_tokens"] == body["max_new_tokens"] == 9
    assert requests[1].options.max_new_tokens == manifest.generation.max_new_tokens
    assert free[0].options == manifest.generation.options()
    assert "repair" not in free[0].body
