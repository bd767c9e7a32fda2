"""What runs at a time with continuous batching, what waits, and what is refused."""

import asyncio
from typing import Any

import pytest

from slimseq.app.serving.batching.request_queue import EXPECTED_EXTRA_TOKENS, expected_tokens
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions
from tests.app.serving.batching.stepping import BEAMS, scheduling, steps
from tests.app.serving.generators import SteppingGenerator
from tests.app.serving.working import submit, texts, until

pytestmark = pytest.mark.anyio


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


async def test_a_short_request_begins_at_the_next_step_whatever_others_have_queued() -> None:
    generator = SteppingGenerator(is_open=False)
    options = GenerationOptions(max_new_tokens=100)
    with scheduling(generator, max_tokens=4000) as scheduler:
        long = [submit(scheduler, *[300] * 64, options=options) for _ in range(30)]
        await until(generator.has_stepped.is_set)
        await steps(generator, 2)
        short = submit(scheduler, 3)
        await steps(generator, 2 + 3)

        assert texts(await scheduler.wait(short)) == ["3"]
        for each in long:
            scheduler.abandon(each)


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
