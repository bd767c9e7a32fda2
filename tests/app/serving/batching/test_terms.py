"""Priorities in the queue, with both kinds of batching."""

import asyncio

import pytest

from slimseq.app.serving.batching.request import LOW_PRIORITY_FACTOR
from tests.app.serving.batching.stepping import scheduling
from tests.app.serving.generators import SteppingGenerator
from tests.app.serving.working import submit, until

pytestmark = pytest.mark.anyio


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
