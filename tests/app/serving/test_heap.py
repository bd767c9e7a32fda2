"""When freed memory is given back: while there are requests, once more after the last one, and later after growth.

And when all garbage is collected: not while there are requests.
"""

import asyncio
import contextlib
import gc
import itertools

import pytest

from slimseq.app.serving import heap

pytestmark = pytest.mark.anyio
INTERVAL = 0.02


@pytest.mark.parametrize(("idle_seconds", "is_trimmed"), [(0.0, True), (1.1 * INTERVAL, True), (3 * INTERVAL, False)])
async def test_memory_is_given_back_after_requests_alone(
    monkeypatch: pytest.MonkeyPatch, idle_seconds: float, is_trimmed: bool
) -> None:
    trims: list[None] = []
    monkeypatch.setattr(heap, "trim_memory", lambda: trims.append(None))

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(heap.keep_trimming(lambda: idle_seconds, INTERVAL), 20 * INTERVAL)

    assert bool(trims) is is_trimmed


async def test_an_idle_service_gives_memory_back_once_after_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[None] = []
    sizes = itertools.chain([100 * 2**20], itertools.repeat(150 * 2**20))
    monkeypatch.setattr(heap, "trim_memory", lambda: trims.append(None))
    monkeypatch.setattr(heap, "resident_bytes", lambda: next(sizes))

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(heap.keep_trimming(lambda: 1.0, INTERVAL), 20 * INTERVAL)

    assert len(trims) == 1


@pytest.mark.parametrize(
    ("idle_seconds", "is_collected"), [(0.0, False), (0.5 * INTERVAL, True), (1.1 * INTERVAL, True), (1.0, False)]
)
async def test_all_garbage_is_collected_after_requests_alone(
    monkeypatch: pytest.MonkeyPatch, idle_seconds: float, is_collected: bool
) -> None:
    collections: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(None))

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(heap.keep_collecting(lambda: idle_seconds, INTERVAL), 10 * INTERVAL)

    assert bool(collections) is is_collected


async def test_all_garbage_is_collected_now_and_then_where_requests_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(None))

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(heap.keep_collecting(lambda: 0.0, INTERVAL, 3 * INTERVAL), 10 * INTERVAL)

    assert 0 < len(collections) < 4


def test_no_full_collection_begins_by_itself() -> None:
    thresholds = gc.get_threshold()
    full: list[int] = []

    def record(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            full.append(info["generation"])

    gc.callbacks.append(record)
    try:
        heap.collect_when_idle()
        kept = [[number] for number in range(1_000_000)]
    finally:
        gc.callbacks.remove(record)
        gc.set_threshold(*thresholds)

    assert len(kept) == 1_000_000 and full == []
