"""What the service does around generation: selection, counting of characters, arms of experiments, deadlines."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

from slimseq.app.errors import DeadlineExceeded, KeyLimitReached
from slimseq.app.generate import planner as planner_module
from slimseq.app.generate import service as service_module
from slimseq.app.generate.call import Call, CallTerms
from slimseq.app.generate.events import EventStream
from slimseq.app.generate.planner import Planner
from slimseq.app.generate.service import GenerationService
from slimseq.app.http.callers import ANYBODY, Admission
from slimseq.app.http.usage import UsageCounter
from slimseq.app.observability.service_metrics import LatencyWindow, ServiceMetrics
from slimseq.app.serving.batching.request import Due
from slimseq.app.serving.pool.pool import Pool, Slot
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.app.serving.traffic import ERRORS, Split, Traffic
from slimseq.app.settings import Settings
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Plan, Prompt
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.parts import parts_of

pytestmark = pytest.mark.anyio

# The deadline of requests whose work takes longer.
DEADLINE_SECONDS = 1.0
CHOICE = RequestedVariant("quantized")


async def hang(*_: Any) -> None:
    await asyncio.sleep(60)


def call_with(prompt: Prompt, choice: RequestedVariant, seconds: float = 60.0) -> Call:
    terms = CallTerms(Due.within(seconds))
    return Call(Task.TRANSLATION, prompt, choice, terms, Admission(ANYBODY, UsageCounter()))


@asynccontextmanager
async def serving(store: Store) -> AsyncIterator[GenerationService]:
    """A service whose variant is loaded."""
    parts = parts_of(store)
    planner = Planner()
    chooser = Chooser(Defaults(parts.catalogue))
    metrics = ServiceMetrics("test")
    async with parts.pool.lease(Task.TRANSLATION, CHOICE.variant or ""):
        settings = Settings(store=store.root)
        latency = LatencyWindow(60)
        yield GenerationService(settings, chooser, parts.pool, latency, metrics, planner, Traffic(metrics))
    planner.close()
    await parts.pool.close()


async def test_the_variant_of_a_pair_of_languages_is_selected_once(embedded: Store) -> None:
    call = call_with(Prompt(["It is seven."], source="en", target="de"), RequestedVariant())

    async with serving(embedded) as service:
        with patch.object(Chooser, "select", autospec=True, side_effect=Chooser.select) as select:
            await service.generate(call)

    assert select.call_count == 1


async def test_the_characters_of_a_call_are_counted_once_and_before_a_variant_is_leased(embedded: Store) -> None:
    call = call_with(Prompt(["It is seven."]), CHOICE)
    counted: list[int] = []

    async def characters(number: int) -> None:
        counted.append(number)
        raise KeyLimitReached("40 characters a minute", 1)

    async with serving(embedded) as service:
        with (
            patch.object(call.admission, "characters", characters),
            patch.object(Pool, "acquire", autospec=True) as acquire,
            pytest.raises(KeyLimitReached),
        ):
            await service.generate(call)

    assert counted == [len("It is seven.")]
    acquire.assert_not_called()


async def test_an_arm_that_cannot_be_loaded_counts_characters_once_and_the_default_answers(embedded: Store) -> None:
    call = call_with(Prompt(["It is seven."], source="en", target="de"), RequestedVariant())
    acquire = Pool.acquire

    async def without_arm(pool: Pool, task: Task, variant: str, *rest: Any) -> Slot:
        if variant == "original":
            raise InvalidArtifact("original cannot be loaded")
        return await acquire(pool, task, variant, *rest)

    async with serving(embedded) as service:
        service._traffic.splits = {(Task.TRANSLATION, ("en", "de")): Split("experiment", {"original": 1.0})}
        with (
            patch.object(Pool, "acquire", without_arm),
            patch.object(call.admission, "characters", AsyncMock()) as characters,
        ):
            response = await service.generate(call)

    assert response.variant != "original"
    assert response.experiment is None
    characters.assert_awaited_once_with(len("It is seven."))
    assert service._traffic.counts["experiment", "original", ERRORS] == 1


@pytest.mark.parametrize("step", ["passes", "checks"])
async def test_an_answer_does_not_wait_for_passes_or_checks_beyond_its_deadline(
    embedded: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async with serving(embedded) as service:
        if step == "passes":
            monkeypatch.setattr(service_module, "run_passes", hang)
        else:
            monkeypatch.setattr(Plan, "checked", lambda *_: time.sleep(3))
            monkeypatch.setattr(planner_module, "SHORT_CHECKED_CHARACTERS", 0)
        started = time.monotonic()

        with pytest.raises(DeadlineExceeded):
            await service.generate(call_with(Prompt(["It is 7."]), CHOICE, DEADLINE_SECONDS))

        assert time.monotonic() - started < 2.5 * DEADLINE_SECONDS


async def test_a_stream_does_not_wait_for_the_planner_beyond_its_deadline(
    embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = Prompt(["<p>It is <b>seven</b>.</p>"], format="html")
    async with serving(embedded) as service:
        monkeypatch.setattr(EventStream, "_begin", hang)

        with pytest.raises(DeadlineExceeded):
            await service.stream(call_with(prompt, CHOICE, DEADLINE_SECONDS))


@pytest.mark.parametrize(("sentences", "is_on_loop"), [(1, True), (40, False)])
async def test_the_event_loop_reads_sentences_and_no_articles(
    embedded: Store, monkeypatch: pytest.MonkeyPatch, sentences: int, is_on_loop: bool
) -> None:
    threads: list[threading.Thread] = []

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            threads.append(threading.current_thread())
            return function(*arguments)

        return noted

    monkeypatch.setattr(service_module, "plan", noting(plan))
    monkeypatch.setattr(Plan, "checked", noting(Plan.checked))
    async with serving(embedded) as service:
        await service.generate(call_with(Prompt(["The house is small. " * sentences]), CHOICE))

    assert len(threads) >= 2
    assert all((thread is threading.current_thread()) == is_on_loop for thread in threads)
