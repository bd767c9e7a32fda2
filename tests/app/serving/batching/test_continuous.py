"""Continuous batching of a generator whose steps a test allows, one by one."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from slimseq.app.errors import DeadlineExceeded, GenerationFailed, ShuttingDown
from slimseq.app.serving.batching.continuous import (
    MAX_ENCODED_TOKENS,
    MAX_HYPOTHESES,
    MAX_HYPOTHESES_OF_FEW,
    MAX_WAITED_STEPS,
    MIN_BUSY_ROWS,
    TOKENS_TOGETHER,
    ContinuousBatching,
)
from slimseq.app.serving.batching.request import LOW_PRIORITY_FACTOR, Due, Generated, QueuedRequest
from slimseq.app.serving.batching.request_queue import EXPECTED_EXTRA_TOKENS, WorkLimits, expected_tokens
from slimseq.inference.generator import open_generator
from slimseq.inference.tokenizer import Encoding, ForcedOutput
from slimseq.models_store.generation import ForcedOptions, GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.generators import SteppingGenerator, rows
from tests.app.serving.working import Heard, submit, texts, until

pytestmark = pytest.mark.anyio
SHORT = GenerationOptions(max_new_tokens=4)
BEAMS = GenerationOptions(num_beams=4, max_new_tokens=4)


@contextmanager
def scheduling(generator: SteppingGenerator, workers: int = 1, **limits: Any) -> Iterator[ContinuousBatching]:
    scheduler = ContinuousBatching(generator, "translation/test", WorkLimits(**limits), workers)
    try:
        yield scheduler
    finally:
        generator.open()
        scheduler.close()


async def steps(generator: SteppingGenerator, count: int) -> None:
    """Lets so many steps run, and waits for the one behind them to begin."""
    before = len(generator.steps)
    generator.permits.release(count)
    await until(lambda: len(generator.steps) >= before + count)


async def test_a_row_joins_those_in_flight_at_the_next_step_whatever_its_options() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator) as scheduler:
        long = submit(scheduler, 9)
        await until(generator.has_stepped.is_set)
        short = submit(scheduler, 2, options=BEAMS)
        await steps(generator, 3)

        assert texts(await scheduler.wait(short)) == ["2"]
        generator.open()
        assert texts(await scheduler.wait(long)) == ["9"]
    assert generator.steps == [[9], [2, 9], [2, 9], *[[9]] * 6]


@pytest.mark.parametrize(("lengths", "waited"), [([4], MAX_WAITED_STEPS), ([4, 4, 4], 0), ([TOKENS_TOGETHER + 1], 0)])
async def test_beside_many_rows_a_few_short_ones_wait_some_steps_for_others(lengths: list[int], waited: int) -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator) as scheduler:
        many = submit(scheduler, *[9] * MIN_BUSY_ROWS)
        await until(generator.has_stepped.is_set)
        new = submit(scheduler, *lengths)
        await steps(generator, 8)
        generator.open()

        assert texts(await scheduler.wait(new)) == [str(length) for length in lengths]
        await scheduler.wait(many)
    joined = next(step for step, rows in enumerate(generator.steps) if len(rows) > MIN_BUSY_ROWS)
    assert joined == 1 + waited


async def test_a_row_of_another_request_does_not_wait_for_the_encoder_behind_all_rows_of_a_large_one() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator) as scheduler:
        large = submit(scheduler, *[MAX_ENCODED_TOKENS // 2] * 9)
        await until(generator.has_stepped.is_set)
        short = submit(scheduler, 2)
        await steps(generator, 1)
        generator.open()

        assert texts(await scheduler.wait(short)) == ["2"]
        scheduler.abandon(large)
    # Beside the first two, the short one and one more are encoded.
    assert [len(rows) for rows in generator.steps[:2]] == [2, 4] and 2 in generator.steps[1]


async def test_a_listener_hears_tokens_as_they_come_and_then_the_row() -> None:
    heard = Heard()

    with scheduling(SteppingGenerator()) as scheduler:
        await scheduler.wait(submit(scheduler, 2, 1, listener=heard))
    assert heard.events == [(0, 2), (1, 1), (1, "1"), (0, 2), (0, "2")]


@pytest.mark.parametrize("workers", [1, 2])
async def test_requests_that_come_and_go_get_the_texts_of_the_model(embedded: Store, workers: int) -> None:
    with open_generator(embedded, Task.TRANSLATION, "original", "onnxruntime", threads=1) as generator:
        options = [generator.manifest.generation.options(num_beams=beams, max_new_tokens=24) for beams in (1, 4)]
        encodings = [generator.encode(f"There are {number} birds in the tree.") for number in range(12)]
        wanted = [[output.text for output in generator.generate(encodings, each)] for each in options]
        scheduler = ContinuousBatching(generator, "translation/original", workers=workers)
        waits = []
        for encoding in encodings:
            for each in options:
                waits.append(scheduler.wait(scheduler.submit(QueuedRequest([encoding], each, Due.within(60)))))
                await asyncio.sleep(0.003)
        found = [texts(generated)[0] for generated in await asyncio.gather(*waits)]
        scheduler.close()

        assert [found[0::2], found[1::2]] == wanted


async def test_two_engines_share_what_waits() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator, workers=2) as scheduler:
        request = submit(scheduler, 3, 4, 5, 6)
        await until(lambda: len(generator.steps) == 2)
        generator.open()

        assert texts(await scheduler.wait(request)) == ["3", "4", "5", "6"]
        assert [len(step) for step in generator.steps[:2]] == [2, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="binds threads on Linux only")
async def test_workers_keep_to_a_core_of_their_own_while_all_have_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[list[int]] = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5})

    def bind(_: int, cores: list[int]) -> None:
        bound.append(cores)
        raise OSError("the container has lost that core")

    monkeypatch.setattr("os.sched_setaffinity", bind)
    generator = SteppingGenerator(is_open=False)

    with scheduling(generator, workers=2) as scheduler:
        long = submit(scheduler, 900)
        await steps(generator, 2)
        assert bound == []
        short = submit(scheduler, 600)
        while len(bound) < 2:
            await steps(generator, 1)
        assert sorted(bound) == [[3], [5]]
        generator.open()
        assert texts(await scheduler.wait(short)) + texts(await scheduler.wait(long)) == ["600", "900"]
    assert bound[2:] == [[3, 5]]


async def test_rows_in_flight_share_a_budget_of_tokens_and_beams_take_more_of_it() -> None:
    greedy, beams = SteppingGenerator(), SteppingGenerator()
    # A row of 6 tokens may come to 10, with four beams to 22.
    with scheduling(greedy, max_tokens=44) as first, scheduling(beams, max_tokens=44) as second:
        await first.wait(submit(first, *[6] * 8))
        await second.wait(submit(second, *[6] * 8, options=BEAMS))

    assert max(map(len, greedy.steps)) == 4
    assert max(map(len, beams.steps)) == 2


def test_rows_take_what_they_are_likely_to_come_to_and_not_all_that_they_may() -> None:
    encoding = Encoding(list(range(20)), 20)

    def tokens(**options: Any) -> int:
        return expected_tokens(encoding, GenerationOptions(**options))

    assert tokens(num_beams=1, max_new_tokens=10) == 20 + 10
    assert tokens(num_beams=4, max_new_tokens=200) == 20 + 4 * (20 + EXPECTED_EXTRA_TOKENS)
    assert tokens(num_beams=1, max_new_tokens=200, min_new_tokens=100) == 20 + 100


async def test_a_row_that_is_larger_than_the_budget_runs_alone() -> None:
    generator = SteppingGenerator()
    with scheduling(generator, max_tokens=20) as scheduler:
        generated = await scheduler.wait(submit(scheduler, 50, 3, 4))

    assert texts(generated) == ["50", "3", "4"]
    assert [50] in generator.steps and all(len(step) == 1 for step in generator.steps if 50 in step)


@pytest.mark.parametrize(
    ("requests", "each", "limit", "waited"),
    [(30, 64, 4000, 2), (MAX_HYPOTHESES_OF_FEW, 1, 16000, MAX_WAITED_STEPS + 2)],
)
async def test_a_short_request_begins_soon_whatever_others_have_queued(
    requests: int, each: int, limit: int, waited: int
) -> None:
    generator = SteppingGenerator(is_open=False)
    options = GenerationOptions(max_new_tokens=100)
    with scheduling(generator, max_tokens=limit) as scheduler:
        long = [submit(scheduler, *[300] * each, options=options) for _ in range(requests)]
        await until(generator.has_stepped.is_set)
        await steps(generator, MAX_HYPOTHESES_OF_FEW)
        short = submit(scheduler, 3)
        await steps(generator, waited + 3)

        assert texts(await scheduler.wait(short)) == ["3"]
        for request in long:
            scheduler.abandon(request)


async def test_many_short_rows_of_few_requests_make_no_short_request_wait_and_no_step_large() -> None:
    generator = SteppingGenerator(is_open=False)
    options = GenerationOptions(num_beams=4, max_new_tokens=100)
    with scheduling(generator) as scheduler:
        bulk = [submit(scheduler, *[24] * 100, options=options) for _ in range(6)]
        await until(generator.has_stepped.is_set)
        await steps(generator, 10)
        short = submit(scheduler, 3, options=options)
        await steps(generator, MAX_WAITED_STEPS + 1 + 3)

        assert texts(await scheduler.wait(short)) == ["3"]
        for each in bulk:
            scheduler.abandon(each)
    assert max(map(len, generator.steps)) <= MAX_HYPOTHESES // options.num_beams + 1


@pytest.mark.parametrize(("requests", "together"), [(11, MAX_HYPOTHESES_OF_FEW // 4), (12, 12)])
async def test_requests_wait_for_those_in_flight_unless_they_are_many(requests: int, together: int) -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator) as scheduler:
        submitted = [submit(scheduler, 6, options=BEAMS) for _ in range(requests)]
        generator.open()
        await asyncio.gather(*map(scheduler.wait, submitted))

    assert max(map(len, generator.steps)) == together


async def test_a_long_row_is_not_overtaken_for_ever_by_short_ones_that_keep_coming() -> None:
    generator = SteppingGenerator()
    with scheduling(generator, max_tokens=60) as scheduler:

        async def keep_asking() -> None:
            while not long.done():
                await scheduler.wait(submit(scheduler, 6))

        feeders = [asyncio.create_task(keep_asking()) for _ in range(8)]
        long = asyncio.create_task(scheduler.wait(submit(scheduler, 40)))
        await asyncio.gather(long, *feeders)

    before = next(index for index, step in enumerate(generator.steps) if 40 in step)
    assert before < 60


async def test_a_row_past_its_deadline_leaves_at_the_next_step_and_the_others_go_on() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator) as scheduler:
        late, other = submit(scheduler, 900, seconds=0.1), submit(scheduler, 12)

        with pytest.raises(DeadlineExceeded, match="deadline of"):
            await scheduler.wait(late)
        await steps(generator, 3)

        assert generator.steps[-1] == [12]
        assert generator.dropped == 1
        generator.open()
        assert texts(await scheduler.wait(other)) == ["12"]


async def test_a_row_that_breaks_an_engine_fails_alone_and_the_others_answer_as_they_would_have() -> None:
    generator, heard = SteppingGenerator(is_open=False), Heard()
    generator.bad_length, generator.bad_from = 7, 4
    with scheduling(generator) as scheduler:
        good = [submit(scheduler, length) for length in (9, 5, 8)]
        streamed = submit(scheduler, 6, 9, listener=heard)
        bad = submit(scheduler, 7)
        generator.open()
        answers = await asyncio.gather(*map(scheduler.wait, (*good, streamed, bad)), return_exceptions=True)

        found = [texts(each) for each in answers[:4] if isinstance(each, Generated)]
        assert found == [["9"], ["5"], ["8"], ["6", "9"]]
        assert isinstance(answers[4], GenerationFailed) and scheduler.failures <= 1
    # Tokens that came before the engine broke do not come again.
    assert sorted(heard.tokens) == [(0, 6)] * 6 + [(1, 9)] * 9


async def test_a_row_that_samples_without_a_seed_draws_the_same_again() -> None:
    generator = SteppingGenerator()
    generator.bad_length = 7
    with scheduling(generator) as scheduler:
        drawn = submit(scheduler, 9, options=GenerationOptions(do_sample=True, max_new_tokens=20))
        with pytest.raises(GenerationFailed):
            await scheduler.wait(submit(scheduler, 7))
        await scheduler.wait(drawn)

    seeds = [options.seed for length, options in generator.added if length == 9]
    assert len(set(seeds)) == 1 and seeds[0] is not None


async def test_an_output_is_scored_step_by_step_beside_others_until_nobody_waits() -> None:
    generator = SteppingGenerator(is_open=False)
    forced = [replace(row, output=ForcedOutput("Ja", (4, 2), ((0, 2), (2, 2)))) for row in rows(5, 6)]
    with scheduling(generator) as scheduler:
        other = submit(scheduler, 9)
        await until(generator.has_stepped.is_set)
        scored = scheduler.submit(QueuedRequest(forced, BEAMS, Due.within(10)))
        await steps(generator, 1)
        scheduler.abandon(scored)
        generator.open()
        await scheduler.wait(other)

    assert generator.steps[:2] == [[9], [5, 6, 9]] and generator.steps[-1] == [9] and generator.dropped == 2
    assert [options for _, options in generator.added[1:]] == [ForcedOptions(max_new_tokens=2, forced_ids=(4, 2))] * 2


async def test_closing_ends_what_runs_and_fails_what_waits() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator, max_tokens=10) as scheduler:
        running = asyncio.create_task(scheduler.wait(submit(scheduler, 900)))
        await until(generator.has_stepped.is_set)
        waiting = asyncio.create_task(scheduler.wait(submit(scheduler, 6)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(scheduler.close))
        await asyncio.sleep(0.02)
        generator.open()
        await closing

        for each in (running, waiting):
            with pytest.raises(ShuttingDown):
                await each
        with pytest.raises(ShuttingDown):
            submit(scheduler, 3)


async def test_low_priority_waits_behind_others_that_come_later() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator, max_tokens=10) as scheduler:
        running = submit(scheduler, 6)
        await until(generator.has_stepped.is_set)
        low = submit(scheduler, 7, priority="low")
        normal = [submit(scheduler, 8) for _ in range(4)]
        generator.open()
        await asyncio.gather(*map(scheduler.wait, (running, low, *normal)))

    begun = [length for length, _ in generator.added]
    assert begun == [6, 8, 8, 8, 8, 7]


async def test_low_priority_does_not_starve_while_others_keep_coming() -> None:
    generator = SteppingGenerator()
    with scheduling(generator, max_tokens=10) as scheduler:

        async def keep_asking() -> None:
            while not low.done():
                await scheduler.wait(submit(scheduler, 6))

        low = asyncio.create_task(scheduler.wait(submit(scheduler, 7, priority="low")))
        await asyncio.gather(low, *(keep_asking() for _ in range(4)))

    before = [length for length, _ in generator.added].index(7)
    assert before <= 2 * LOW_PRIORITY_FACTOR * 4
