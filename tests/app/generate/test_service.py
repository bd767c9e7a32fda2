"""Deadlines hold for all that is done for a request, not only while its rows are generated."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

from slimseq.app.errors import DeadlineExceeded
from slimseq.app.generate import planner as planner_module
from slimseq.app.generate import service as service_module
from slimseq.app.generate.events import EventStream
from slimseq.app.generate.planner import Planner
from slimseq.app.generate.service import GenerationService
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.selection.chooser import Choice, Chooser
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.app.serving.terms import Terms
from slimseq.app.serving.traffic import Traffic
from slimseq.app.settings import Settings
from slimseq.inference.text.rows import Plan, Prompt
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.parts import parts_of

pytestmark = pytest.mark.anyio

SECONDS = 1.0
CHOICE = Choice("quantized")


async def hangs(*_: Any) -> None:
    await asyncio.sleep(60)


@asynccontextmanager
async def serving(store: Store) -> AsyncIterator[GenerationService]:
    """A service whose variant is loaded."""
    parts, planner = parts_of(store), Planner()
    chooser = Chooser(Defaults(parts.catalogue))
    metrics = ServiceMetrics("test")
    async with parts.pool.lease(Task.TRANSLATION, CHOICE.variant or ""):
        settings, latency = Settings(store=store.root), LatencyWindow(60)
        yield GenerationService(settings, chooser, parts.pool, latency, metrics, planner, Traffic(metrics))
    planner.close()
    await parts.pool.close()


async def test_the_variant_of_a_pair_of_languages_is_selected_once(embedded: Store) -> None:
    admit, prompt = AsyncMock(), Prompt(["It is seven."], source="en", target="de")

    async with serving(embedded) as service:
        with patch.object(Chooser, "select", autospec=True, side_effect=Chooser.select) as select:
            await service.generate(Task.TRANSLATION, prompt, Choice(), Terms(), admit)

    assert select.call_count == 1
    admit.assert_awaited_once_with(12)


@pytest.mark.parametrize("step", ["passes", "checks"])
async def test_an_answer_does_not_wait_for_passes_or_checks_beyond_its_deadline(
    embedded: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async with serving(embedded) as service:
        if step == "passes":
            monkeypatch.setattr(service_module, "run_passes", hangs)
        else:
            monkeypatch.setattr(Plan, "checked", lambda *_: time.sleep(3))
            monkeypatch.setattr(planner_module, "SHORT_CHECKED_CHARACTERS", 0)
        started = time.monotonic()

        with pytest.raises(DeadlineExceeded):
            await service.generate(Task.TRANSLATION, Prompt(["It is 7."]), CHOICE, Terms(deadline_seconds=SECONDS))

        assert time.monotonic() - started < 2.5 * SECONDS


async def test_a_stream_does_not_wait_for_the_planner_beyond_its_deadline(
    embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = Prompt(["<p>It is <b>seven</b>.</p>"], format="html")
    async with serving(embedded) as service:
        monkeypatch.setattr(EventStream, "_begin", hangs)

        with pytest.raises(DeadlineExceeded):
            await service.stream(Task.TRANSLATION, prompt, CHOICE, Terms(deadline_seconds=SECONDS))
