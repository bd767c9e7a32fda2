"""Priorities and deadlines in the queue, with both kinds of batching."""

import asyncio

import pytest

from slimseq.app.errors import DeadlineExceeded
from slimseq.app.serving.batching.request_queue import LOW_PRIORITY_FACTOR, WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.models_store.generation import GenerationOptions
from tests.app.serving.batching.stepping import scheduling
from tests.app.serving.generators import EchoEngine, EchoGenerator, SteppingGenerator
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


def test_a_row_that_cannot_meet_its_deadline_is_not_begun_where_others_wait() -> None:
    async def scenario() -> None:
        generator = SteppingGenerator(is_open=False)
        with scheduling(generator, max_tokens=10) as scheduler:
            slow = submit(scheduler, 6)
            await until(generator.has_stepped.is_set)
            await asyncio.sleep(0.3)
            generator.permits.release(6)
            await scheduler.wait(slow)
            # Rows have needed 0.3 s and more.
            running = submit(scheduler, 6)
            await until(lambda: len(generator.steps) == 7)
            hopeless, other = submit(scheduler, 7, seconds=0.2), submit(scheduler, 8)
            generator.open()
            with pytest.raises(DeadlineExceeded, match=r"deadline of 0\.2 s"):
                await scheduler.wait(hopeless)

            assert texts(await scheduler.wait(other)) == ["8"]
            await scheduler.wait(running)
        assert [length for length, _ in generator.added] == [6, 6, 8]

    run(scenario)


def test_a_row_with_little_time_is_tried_where_nobody_waits_for_it() -> None:
    async def scenario() -> None:
        generator = SteppingGenerator(is_open=False)
        with scheduling(generator, max_tokens=10) as scheduler:
            slow = submit(scheduler, 6)
            await until(generator.has_stepped.is_set)
            await asyncio.sleep(0.5)
            generator.open()
            await scheduler.wait(slow)

            assert texts(await scheduler.wait(submit(scheduler, 7, seconds=0.4))) == ["7"]

    run(scenario)


def test_a_long_row_is_not_given_up_because_a_short_one_took_long_for_its_size() -> None:
    async def scenario() -> None:
        generator = SteppingGenerator(is_open=False)
        with scheduling(generator, max_tokens=100) as scheduler:
            short = submit(scheduler, 1, options=GenerationOptions(max_new_tokens=1))
            await until(generator.has_stepped.is_set)
            # What the encoder and the first step take, whatever the length.
            await asyncio.sleep(0.1)
            generator.permits.release(1)
            await scheduler.wait(short)
            running = submit(scheduler, 6)
            await until(lambda: len(generator.steps) == 2)
            long = submit(scheduler, 60, seconds=2)
            generator.open()

            assert texts(await scheduler.wait(long)) == ["60"]
            await scheduler.wait(running)

    run(scenario)


def test_a_long_batch_is_not_given_up_because_a_short_one_took_long_for_its_size() -> None:
    async def scenario() -> None:
        generator = EchoGenerator(is_open=False)
        batcher = StaticBatching(generator, "translation/test", WorkLimits(max_rows=1, wait_seconds=0))
        short = submit(batcher, 1, options=GenerationOptions(max_new_tokens=1))
        await asyncio.sleep(0.1)
        generator.gate.set()
        await batcher.wait(short)
        long, other = submit(batcher, 60, seconds=2), submit(batcher, 61)

        assert texts(await batcher.wait(long)) == ["60"]
        await batcher.wait(other)
        batcher.close()

    run(scenario)


def test_a_row_is_not_given_up_because_many_took_long_together() -> None:
    async def scenario() -> None:
        generator = SteppingGenerator(is_open=False)
        with scheduling(generator, max_tokens=1000) as scheduler:
            many = submit(scheduler, *[5] * 8)
            await until(generator.has_stepped.is_set)
            await asyncio.sleep(1)
            generator.permits.release(5)
            await scheduler.wait(many)
            running = submit(scheduler, 5)
            await until(lambda: len(generator.steps) == 6)
            next_one = submit(scheduler, 6, seconds=0.4)
            generator.open()

            assert texts(await scheduler.wait(next_one)) == ["6"]
            await scheduler.wait(running)

    run(scenario)


def test_a_slow_row_does_not_make_others_hopeless_once_one_was_fast() -> None:
    async def scenario() -> None:
        generator = SteppingGenerator(is_open=False)
        with scheduling(generator, max_tokens=1000) as scheduler:
            slow = submit(scheduler, 5)
            await until(generator.has_stepped.is_set)
            await asyncio.sleep(0.6)
            generator.permits.release(5)
            await scheduler.wait(slow)
            generator.permits.release(5)
            await scheduler.wait(submit(scheduler, 5))
            running = submit(scheduler, 5)
            await until(lambda: len(generator.steps) == 11)
            next_one = submit(scheduler, 6, seconds=0.3)
            generator.open()

            assert texts(await scheduler.wait(next_one)) == ["6"]
            await scheduler.wait(running)

    run(scenario)


def test_a_row_that_writes_much_more_than_expected_does_not_make_others_hopeless() -> None:
    class EndlessEngine(EchoEngine):
        def admit(self, tokens: int = 1024) -> None:
            super().admit(tokens)
            self._left = {key: 400 if left == 2 else left for key, left in self._left.items()}

    class Endless(SteppingGenerator):
        def engine(self) -> EchoEngine:
            return EndlessEngine(self)

    async def scenario() -> None:
        generator, options = Endless(is_open=False), GenerationOptions(max_new_tokens=400)
        with scheduling(generator, max_tokens=1000) as scheduler:
            endless = submit(scheduler, 2, options=options)
            await until(generator.has_stepped.is_set)
            await asyncio.sleep(0.5)
            generator.permits.release(400)
            await scheduler.wait(endless)
            running = submit(scheduler, 5, options=options)
            await until(lambda: len(generator.steps) > 400)
            next_one = submit(scheduler, 6, options=options, seconds=0.3)
            generator.open()

            assert texts(await scheduler.wait(next_one)) == ["6"]
            await scheduler.wait(running)

    run(scenario)


def test_of_requests_that_all_seem_hopeless_one_is_tried_so_that_a_slow_moment_passes() -> None:
    async def scenario() -> None:
        generator = EchoGenerator(is_open=False)
        # Requests that come together are queued before the batch is formed.
        batcher = StaticBatching(generator, "translation/test", WorkLimits(wait_seconds=0.05))
        slow = [submit(batcher, 1) for _ in range(2)]
        await asyncio.sleep(0.5)
        generator.gate.set()
        await asyncio.gather(*map(batcher.wait, slow))
        answers: list[list[object]] = []
        for _ in range(2):
            crowd = [submit(batcher, 1, seconds=0.3) for _ in range(4)]
            answers.append(await asyncio.gather(*map(batcher.wait, crowd), return_exceptions=True))
        batcher.close()

        refused = [sum(isinstance(each, DeadlineExceeded) for each in answer) for answer in answers]
        assert refused == [3, 0]

    run(scenario)
