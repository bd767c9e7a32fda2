"""Priorities in the queue, with both kinds of batching."""

import asyncio

from slimseq.app.serving.batching.request import LOW_PRIORITY_FACTOR
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from tests.app.serving.batching.stepping import scheduling
from tests.app.serving.generators import EchoGenerator, SteppingGenerator
from tests.app.serving.working import run, submit, texts, until


def test_low_priority_waits_behind_others_that_come_later() -> None:
    async def scenario() -> None:
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

    run(scenario)


def test_low_priority_does_not_starve_while_others_keep_coming() -> None:
    async def scenario() -> None:
        generator = SteppingGenerator()
        with scheduling(generator, max_tokens=10) as scheduler:

            async def keep_asking() -> None:
                while not low.done():
                    await scheduler.wait(submit(scheduler, 6))

            low = asyncio.create_task(scheduler.wait(submit(scheduler, 7, priority="low")))
            await asyncio.gather(low, *(keep_asking() for _ in range(4)))

        before = [length for length, _ in generator.added].index(7)
        assert before <= 2 * LOW_PRIORITY_FACTOR * 4

    run(scenario)


def test_a_queue_of_low_priority_alone_is_served_at_once() -> None:
    async def scenario() -> None:
        with scheduling(SteppingGenerator()) as scheduler:
            answers = await asyncio.gather(
                *(scheduler.wait(submit(scheduler, length, priority="low")) for length in (2, 3))
            )

        assert [texts(each) for each in answers] == [["2"], ["3"]]

    run(scenario)


def test_low_priority_waits_in_static_batches_too() -> None:
    async def scenario() -> None:
        generator = EchoGenerator(is_open=False)
        batcher = StaticBatching(generator, "translation/test", WorkLimits(max_rows=1, wait_seconds=0))
        running = submit(batcher, 1)
        await until(generator.has_started.is_set)
        low, normal = submit(batcher, 2, priority="low"), submit(batcher, 3)
        generator.gate.set()
        await asyncio.gather(*map(batcher.wait, (running, low, normal)))
        batcher.close()

        assert generator.batches == [[1], [3], [2]]

    run(scenario)
