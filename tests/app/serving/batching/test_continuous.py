"""Continuous batching of a `SteppingGenerator`, whose steps a test allows one by one.

The input and the output of a row of such a generator are its length: a row of length 9 takes nine steps, and its text
is "9". `generator.steps` has the lengths of the rows of each step.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from slimseq.app.errors import DeadlineExceeded, GenerationFailed, ShuttingDown
from slimseq.app.serving.batching import continuous
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
BEAMS = GenerationOptions(num_beams=4, max_new_tokens=4)


@contextmanager
def continuous_batching(generator: SteppingGenerator, workers: int = 1, **limits: Any) -> Iterator[ContinuousBatching]:
    """Yields the batching of a generator, with `WorkLimits`. At the end, all steps are allowed."""
    queue = ContinuousBatching(generator, "translation/test", WorkLimits(**limits), workers)
    try:
        yield queue
    finally:
        generator.open()
        queue.close()


async def run_steps(generator: SteppingGenerator, count: int) -> None:
    """Allows so many steps, and waits until the next one begins."""
    before = len(generator.steps)
    generator.permits.release(count)
    await until(lambda: len(generator.steps) >= before + count)


async def test_a_row_joins_those_in_flight_at_the_next_step_whatever_its_options() -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator) as queue:
        long = submit(queue, 9)
        await until(generator.has_stepped.is_set)
        short = submit(queue, 2, options=BEAMS)
        await run_steps(generator, 3)
        short_texts = texts(await queue.wait(short))
        generator.open()
        long_texts = texts(await queue.wait(long))

    assert short_texts == ["2"]
    assert long_texts == ["9"]
    assert generator.steps == [[9], [2, 9], [2, 9], *[[9]] * 6]


@pytest.fixture
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous, "IDLE_SECONDS", 0.05)


@pytest.mark.usefixtures("soon_idle")
async def test_an_engine_that_has_nothing_to_do_for_a_while_gives_back_its_memory_once() -> None:
    generator = SteppingGenerator()
    with continuous_batching(generator) as queue:
        await queue.wait(submit(queue, 3))
        await until(lambda: generator.trims == 1)
        await asyncio.sleep(0.2)
        assert generator.trims == 1
        await queue.wait(submit(queue, 3))
        await until(lambda: generator.trims == 2)

    assert generator.engines == 1


@pytest.mark.usefixtures("soon_idle")
async def test_a_new_engine_takes_the_place_of_one_that_cannot_give_back_memory() -> None:
    generator = SteppingGenerator()
    generator.trim_error = MemoryError()
    with continuous_batching(generator) as queue:
        await queue.wait(submit(queue, 3))
        await until(lambda: generator.trims == 1)
        answers = texts(await queue.wait(submit(queue, 4)))

    assert answers == ["4"]
    assert generator.engines == 2


@pytest.mark.parametrize(
    ("lengths", "waited"),
    [([4], MAX_WAITED_STEPS), ([4, 4, 4], 0), ([TOKENS_TOGETHER + 1], 0)],
    ids=["one short row", "enough rows", "enough tokens"],
)
async def test_beside_many_rows_a_few_short_ones_wait_some_steps_for_others(lengths: list[int], waited: int) -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator) as queue:
        many = submit(queue, *[9] * MIN_BUSY_ROWS)
        await until(generator.has_stepped.is_set)
        new = submit(queue, *lengths)
        await run_steps(generator, 8)
        generator.open()
        new_texts = texts(await queue.wait(new))
        await queue.wait(many)

    assert new_texts == [str(length) for length in lengths]
    joined = next(step for step, rows in enumerate(generator.steps) if len(rows) > MIN_BUSY_ROWS)
    assert joined == 1 + waited


async def test_a_row_of_another_request_does_not_wait_for_the_encoder_behind_all_rows_of_a_large_one() -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator) as queue:
        large = submit(queue, *[MAX_ENCODED_TOKENS // 2] * 9)
        await until(generator.has_stepped.is_set)
        short = submit(queue, 2)
        await run_steps(generator, 1)
        generator.open()
        short_texts = texts(await queue.wait(short))
        queue.abandon(large)

    assert short_texts == ["2"]
    # Two large rows fill the first encoder run. The short row and one more large row join at the next step.
    assert [len(rows) for rows in generator.steps[:2]] == [2, 4]
    assert 2 in generator.steps[1]


async def test_a_listener_hears_tokens_as_they_come_and_then_the_row() -> None:
    heard = Heard()

    with continuous_batching(SteppingGenerator()) as queue:
        await queue.wait(submit(queue, 2, 1, listener=heard))

    # A token is the length of its row, and a whole row is a text.
    assert heard.events == [(0, 2), (1, 1), (1, "1"), (0, 2), (0, "2")]


@pytest.mark.parametrize("workers", [1, 2])
async def test_requests_that_come_and_go_get_the_texts_of_the_model(embedded: Store, workers: int) -> None:
    with open_generator(embedded, Task.TRANSLATION, "original", "onnxruntime", threads=1) as generator:
        greedy = generator.manifest.generation.options(num_beams=1, max_new_tokens=24)
        beams = generator.manifest.generation.options(num_beams=4, max_new_tokens=24)
        encodings = [generator.encode(f"There are {number} birds in the tree.") for number in range(12)]
        expected_greedy = [output.text for output in generator.generate(encodings, greedy)]
        expected_beams = [output.text for output in generator.generate(encodings, beams)]
        queue = ContinuousBatching(generator, "translation/original", workers=workers)
        waits = []
        for encoding in encodings:
            for options in (greedy, beams):
                request = queue.submit(QueuedRequest([encoding], options, Due.within(60)))
                waits.append(queue.wait(request))
                # Less time than a request takes, so that the next one joins it.
                await asyncio.sleep(0.003)
        found = [texts(generated)[0] for generated in await asyncio.gather(*waits)]
        queue.close()

    assert found[0::2] == expected_greedy
    assert found[1::2] == expected_beams


async def test_two_engines_share_the_rows_that_wait() -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator, workers=2) as queue:
        request = submit(queue, 3, 4, 5, 6)
        await until(lambda: len(generator.steps) == 2)
        generator.open()
        found = texts(await queue.wait(request))

    assert found == ["3", "4", "5", "6"]
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

    with continuous_batching(generator, workers=2) as queue:
        long = submit(queue, 900)
        await run_steps(generator, 2)
        bound_with_one_row = list(bound)
        short = submit(queue, 600)
        while len(bound) < 2:
            await run_steps(generator, 1)
        bound_with_two_rows = sorted(bound)
        generator.open()
        found = texts(await queue.wait(short)) + texts(await queue.wait(long))

    assert found == ["600", "900"]
    assert bound_with_one_row == []
    assert bound_with_two_rows == [[3], [5]]
    # After the end of the short row, the other worker may use both cores.
    assert bound[2:] == [[3, 5]]


@pytest.mark.parametrize(
    ("options", "together"),
    # A row of 6 input tokens and at most 4 output tokens counts 10 tokens, with four beams 6 + 4 * 4 = 22.
    [(GenerationOptions(max_new_tokens=4), 44 // 10), (BEAMS, 44 // 22)],
    ids=["greedy", "four beams"],
)
async def test_rows_in_flight_share_a_budget_of_tokens(options: GenerationOptions, together: int) -> None:
    generator = SteppingGenerator()
    with continuous_batching(generator, max_tokens=44) as queue:
        await queue.wait(submit(queue, *[6] * 8, options=options))

    assert max(map(len, generator.steps)) == together


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (GenerationOptions(num_beams=1, max_new_tokens=10), 20 + 10),
        (GenerationOptions(num_beams=4, max_new_tokens=200), 20 + 4 * (20 + EXPECTED_EXTRA_TOKENS)),
        (GenerationOptions(num_beams=1, max_new_tokens=200, min_new_tokens=100), 20 + 100),
    ],
    ids=["limit below the expected length", "four beams", "minimum above the expected length"],
)
def test_the_expected_tokens_of_a_row_follow_its_length_within_its_limits(
    options: GenerationOptions, expected: int
) -> None:
    row = Encoding(list(range(20)), 20)

    assert expected_tokens(row, options) == expected


async def test_a_row_that_is_larger_than_the_budget_runs_alone() -> None:
    generator = SteppingGenerator()
    with continuous_batching(generator, max_tokens=20) as queue:
        generated = await queue.wait(submit(queue, 50, 3, 4))

    assert texts(generated) == ["50", "3", "4"]
    steps_with_it = [step for step in generator.steps if 50 in step]
    assert steps_with_it
    assert all(step == [50] for step in steps_with_it)


@pytest.mark.parametrize(
    ("requests", "rows_of_each", "max_tokens", "waited_steps"),
    [(30, 64, 4000, 2), (MAX_HYPOTHESES_OF_FEW, 1, 16000, MAX_WAITED_STEPS + 2)],
    ids=["many rows beyond the budget", "many requests of one row"],
)
async def test_a_short_request_begins_soon_whatever_others_have_queued(
    requests: int, rows_of_each: int, max_tokens: int, waited_steps: int
) -> None:
    generator = SteppingGenerator(is_open=False)
    options = GenerationOptions(max_new_tokens=100)
    with continuous_batching(generator, max_tokens=max_tokens) as queue:
        long = [submit(queue, *[300] * rows_of_each, options=options) for _ in range(requests)]
        await until(generator.has_stepped.is_set)
        await run_steps(generator, MAX_HYPOTHESES_OF_FEW)
        short = submit(queue, 3)
        # The short row itself takes three steps.
        await run_steps(generator, waited_steps + 3)
        # No further step is allowed: this would not return if the row had begun later.
        short_texts = texts(await queue.wait(short))
        for request in long:
            queue.abandon(request)

    assert short_texts == ["3"]


async def test_many_short_rows_of_few_requests_make_no_short_request_wait_and_no_step_large() -> None:
    generator = SteppingGenerator(is_open=False)
    options = GenerationOptions(num_beams=4, max_new_tokens=100)
    with continuous_batching(generator) as queue:
        bulk = [submit(queue, *[24] * 100, options=options) for _ in range(6)]
        await until(generator.has_stepped.is_set)
        await run_steps(generator, 10)
        short = submit(queue, 3, options=options)
        # The short row waits for the encoder, and then takes three steps.
        await run_steps(generator, MAX_WAITED_STEPS + 1 + 3)
        short_texts = texts(await queue.wait(short))
        for each in bulk:
            queue.abandon(each)

    assert short_texts == ["3"]
    # The rows of large requests, and the short one.
    assert max(map(len, generator.steps)) <= MAX_HYPOTHESES // options.num_beams + 1


@pytest.mark.parametrize(
    ("requests", "together"),
    # With four beams, 11 requests have the 44 hypotheses of `LARGE_SHARE_HYPOTHESES`, and 12 requests have more.
    [(11, MAX_HYPOTHESES_OF_FEW // 4), (12, 12)],
)
async def test_requests_wait_for_the_rows_in_flight_unless_they_are_many(requests: int, together: int) -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator) as queue:
        submitted = [submit(queue, 6, options=BEAMS) for _ in range(requests)]
        generator.open()
        await asyncio.gather(*map(queue.wait, submitted))

    assert max(map(len, generator.steps)) == together


async def test_a_long_row_starts_while_short_ones_keep_coming() -> None:
    generator = SteppingGenerator()
    with continuous_batching(generator, max_tokens=60) as queue:

        async def keep_asking() -> None:
            while not long.done():
                await queue.wait(submit(queue, 6))

        feeders = [asyncio.create_task(keep_asking()) for _ in range(8)]
        long = asyncio.create_task(queue.wait(submit(queue, 40)))
        await asyncio.gather(long, *feeders)

    steps_before = next(index for index, step in enumerate(generator.steps) if 40 in step)
    # Each short row takes 6 steps: some ten of them may come first.
    assert steps_before < 60


async def test_a_row_past_its_deadline_leaves_at_the_next_step_and_the_others_go_on() -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator) as queue:
        late = submit(queue, 900, seconds=0.1)
        other = submit(queue, 12)
        with pytest.raises(DeadlineExceeded, match="deadline of"):
            await queue.wait(late)
        await run_steps(generator, 3)
        last_step = generator.steps[-1]
        dropped = generator.dropped
        generator.open()
        other_texts = texts(await queue.wait(other))

    assert last_step == [12]
    assert dropped == 1
    assert other_texts == ["12"]


async def test_a_row_that_breaks_an_engine_fails_alone_and_the_others_are_answered() -> None:
    heard = Heard()
    generator = SteppingGenerator(is_open=False)
    # From the fourth step on, a step with the row of length 7 fails.
    generator.bad_length = 7
    generator.bad_from = 4
    with continuous_batching(generator) as queue:
        good = [submit(queue, length) for length in (9, 5, 8)]
        streamed = submit(queue, 6, 9, listener=heard)
        bad = submit(queue, 7)
        generator.open()
        waits = [queue.wait(request) for request in (*good, streamed, bad)]
        *generated, error = await asyncio.gather(*waits, return_exceptions=True)

    found = [texts(each) for each in generated if isinstance(each, Generated)]
    assert found == [["9"], ["5"], ["8"], ["6", "9"]]
    assert isinstance(error, GenerationFailed)
    assert queue.failures <= 1
    # Tokens that came before the engine broke do not come again.
    assert sorted(heard.tokens) == [(0, 6)] * 6 + [(1, 9)] * 9


async def test_a_row_that_samples_without_a_seed_keeps_its_random_seed_when_it_runs_again() -> None:
    generator = SteppingGenerator()
    generator.bad_length = 7
    with continuous_batching(generator) as queue:
        drawn = submit(queue, 9, options=GenerationOptions(do_sample=True, max_new_tokens=20))
        with pytest.raises(GenerationFailed):
            await queue.wait(submit(queue, 7))
        await queue.wait(drawn)

    seeds = [options.seed for length, options in generator.added if length == 9]
    assert seeds[0] is not None
    assert set(seeds) == {seeds[0]}


async def test_given_outputs_are_scored_step_by_step_beside_others_until_nobody_waits() -> None:
    generator = SteppingGenerator(is_open=False)
    # The ids of "Ja" and of the end of the text, with the places of both in the text.
    output = ForcedOutput("Ja", (4, 2), ((0, 2), (2, 2)))
    forced = [replace(row, output=output) for row in rows(5, 6)]
    with continuous_batching(generator) as queue:
        other = submit(queue, 9)
        await until(generator.has_stepped.is_set)
        scored = queue.submit(QueuedRequest(forced, BEAMS, Due.within(10)))
        await run_steps(generator, 1)
        queue.abandon(scored)
        generator.open()
        await queue.wait(other)

    assert generator.steps[:2] == [[9], [5, 6, 9]]
    assert generator.steps[-1] == [9]
    assert generator.dropped == 2
    assert [options for _, options in generator.added[1:]] == [ForcedOptions(max_new_tokens=2, forced_ids=(4, 2))] * 2


async def test_closing_fails_the_requests_that_run_and_those_that_wait() -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator, max_tokens=10) as queue:
        running = asyncio.create_task(queue.wait(submit(queue, 900)))
        await until(generator.has_stepped.is_set)
        waiting = asyncio.create_task(queue.wait(submit(queue, 6)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(queue.close))
        await asyncio.sleep(0.02)
        generator.open()
        await closing

        for each in (running, waiting):
            with pytest.raises(ShuttingDown):
                await each
        with pytest.raises(ShuttingDown):
            submit(queue, 3)


async def test_low_priority_waits_behind_others_that_come_later() -> None:
    generator = SteppingGenerator(is_open=False)
    with continuous_batching(generator, max_tokens=10) as queue:
        running = submit(queue, 6)
        await until(generator.has_stepped.is_set)
        low = submit(queue, 7, priority="low")
        normal = [submit(queue, 8) for _ in range(4)]
        generator.open()
        await asyncio.gather(*map(queue.wait, (running, low, *normal)))

    # The order in which rows began.
    begun = [length for length, _ in generator.added]
    assert begun == [6, 8, 8, 8, 8, 7]


async def test_low_priority_does_not_starve_while_others_keep_coming() -> None:
    generator = SteppingGenerator()
    with continuous_batching(generator, max_tokens=10) as queue:

        async def keep_asking() -> None:
            while not low.done():
                await queue.wait(submit(queue, 6))

        low = asyncio.create_task(queue.wait(submit(queue, 7, priority="low")))
        await asyncio.gather(low, *(keep_asking() for _ in range(4)))

    rows_before = [length for length, _ in generator.added].index(7)
    # Fair queueing lets about `LOW_PRIORITY_FACTOR` rows of each of the four others pass. The limit is twice as many.
    assert rows_before <= 2 * LOW_PRIORITY_FACTOR * 4
