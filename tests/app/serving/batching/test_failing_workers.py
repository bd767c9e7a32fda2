"""A worker that fails, whatever it raises, leaves no request without an answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slimseq.app.errors import GenerationFailed, ResourcesExhausted, VariantFailed
from slimseq.app.serving.batching.continuous import ContinuousBatching
from slimseq.app.serving.batching.request_queue import RequestQueue, WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from tests.app.serving.generators import EchoGenerator, SteppingGenerator
from tests.app.serving.working import submit, texts, until
from tests.app.test_failures import Panic

pytestmark = pytest.mark.anyio

Kind = type[ContinuousBatching] | type[StaticBatching]
KINDS = pytest.mark.parametrize("kind", [ContinuousBatching, StaticBatching])


@contextmanager
def working(kind: Kind, workers: int = 1) -> Iterator[tuple[RequestQueue, Any]]:
    generator: Any = SteppingGenerator() if kind is ContinuousBatching else EchoGenerator()
    worker = kind(generator, "translation/test", WorkLimits(), workers)
    try:
        yield worker, generator
    finally:
        worker.close()


def break_recovery(worker: Any) -> None:
    """Has the worker's thread end with its next failure."""

    def broken(*_: object) -> None:
        raise RuntimeError("the recovery fails too")

    worker._recover = broken


@KINDS
async def test_a_panic_fails_its_requests_and_the_worker_goes_on(kind: Kind) -> None:
    with working(kind) as (worker, generator):
        generator.error = Panic("Onig: Regex search error: retry-limit-in-match over")
        with pytest.raises(GenerationFailed):
            await worker.wait(submit(worker, 2))
        generator.error = None

        assert len(texts(await worker.wait(submit(worker, 3)))) == 1
        assert not worker.has_failed


@KINDS
async def test_memory_that_runs_out_while_a_request_runs_is_said(kind: Kind) -> None:
    with working(kind) as (worker, generator):
        generator.error = MemoryError()

        with pytest.raises(ResourcesExhausted, match="memory ran out"):
            await worker.wait(submit(worker, 2))


@KINDS
async def test_a_worker_that_ends_fails_what_runs_and_waits_and_refuses_what_comes(kind: Kind) -> None:
    with working(kind) as (worker, generator):
        break_recovery(worker)
        generator.error = Panic("broken")
        requests = [submit(worker, length) for length in (2, 3, 4)]

        for request in requests:
            with pytest.raises(VariantFailed):
                await worker.wait(request)

        await until(lambda: worker.has_failed)
        assert worker.is_broken and worker.queued_rows == 0
        with pytest.raises(VariantFailed):
            submit(worker, 2)


@KINDS
async def test_a_queue_whose_threads_cannot_start_leaves_none_behind(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def start_one(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)

    with pytest.raises(RuntimeError, match="can't start new thread"), working(kind, workers=2):
        pass

    assert len(begun) == 1 and not begun[0].is_alive()
