"""Rows that end early with continuous batching: late, left, broken or closed. The others go on."""

import asyncio

import pytest

from slimseq.app.errors import DeadlineExceeded, GenerationFailed, ShuttingDown
from slimseq.app.serving.batching.request import Generated
from slimseq.models_store.generation import GenerationOptions
from tests.app.serving.batching.stepping import scheduling, steps
from tests.app.serving.generators import SteppingGenerator
from tests.app.serving.working import Heard, submit, texts, until

pytestmark = pytest.mark.anyio


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


async def test_a_client_that_leaves_takes_its_rows_along() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator) as scheduler:
        leaving = asyncio.create_task(scheduler.wait(submit(scheduler, 900, 800)))
        staying = asyncio.create_task(scheduler.wait(submit(scheduler, 12)))
        await until(lambda: bool(generator.steps))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await steps(generator, 3)

        assert generator.steps[-1] == [12]
        generator.open()
        assert texts(await staying) == ["12"]


async def test_a_row_that_breaks_an_engine_fails_alone_and_the_others_answer_as_they_would_have() -> None:
    heard = Heard()

    generator = SteppingGenerator(is_open=False)
    generator.bad_length, generator.bad_from = 7, 4
    with scheduling(generator) as scheduler:
        good = [submit(scheduler, length) for length in (9, 5, 8)]
        streamed = submit(scheduler, 6, 9, listener=heard)
        bad = submit(scheduler, 7)
        generator.open()
        answers = await asyncio.gather(*map(scheduler.wait, (*good, streamed, bad)), return_exceptions=True)

        assert [texts(each) for each in answers[:4] if isinstance(each, Generated)] == [
            ["9"],
            ["5"],
            ["8"],
            ["6", "9"],
        ]
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
