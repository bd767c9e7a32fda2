"""When freed memory is given back: while there are requests, once more after the last one, and not later."""

import asyncio
import contextlib

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
