import asyncio
import time
from collections.abc import Generator

import pytest

from slimseq.app.errors import Overloaded
from slimseq.app.serving.documents.planner import MAX_REQUESTS, Planner, finished


def counting(pieces: int, seconds: float = 0.0, done: list[int] | None = None) -> Generator[None, None, str]:
    for number in range(pieces):
        time.sleep(seconds)
        if done is not None:
            done.append(number)
        yield
    return f"{pieces} pieces"


def test_work_gives_its_result_at_once_or_in_turns() -> None:
    async def scenario() -> None:
        planner = Planner()
        found = await asyncio.gather(planner.run(counting(3)), planner.run(counting(0)))
        assert list(found) == ["3 pieces", "0 pieces"]
        planner.close()

    assert finished(counting(2)) == "2 pieces"
    asyncio.run(scenario())


def test_short_work_does_not_wait_for_long_work_to_end() -> None:
    async def scenario() -> None:
        planner = Planner()
        done: list[int] = []
        long = asyncio.create_task(planner.run(counting(400, 0.005, done)))
        await asyncio.sleep(0.05)
        await planner.run(counting(2, 0.005))

        assert not long.done() and len(done) < 200
        long.cancel()
        planner.close()

    asyncio.run(scenario())


def test_work_that_nobody_waits_for_ends_after_its_turn() -> None:
    async def scenario() -> None:
        planner = Planner()
        done: list[int] = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await planner.run(counting(10_000, 0.002, done))
        await planner.run(counting(1))
        reached = len(done)
        await asyncio.sleep(0.05)

        assert len(done) == reached < 1000
        planner.close()

    asyncio.run(scenario())


def test_an_error_is_the_caller_s() -> None:
    def failing() -> Generator[None, None, None]:
        yield
        raise ValueError("bad text")

    async def scenario() -> None:
        planner = Planner()
        with pytest.raises(ValueError, match="bad text"):
            await planner.run(failing())
        assert await planner.run(counting(1)) == "1 pieces"
        planner.close()

    asyncio.run(scenario())


def test_too_many_new_requests_at_a_time_are_refused_and_those_that_are_generated_are_not() -> None:
    async def scenario() -> None:
        planner = Planner()
        running = [asyncio.create_task(planner.run(counting(10_000, 0.001))) for _ in range(MAX_REQUESTS)]
        await asyncio.sleep(0.01)

        with pytest.raises(Overloaded):
            await planner.run(counting(1), is_new=True)
        assert await planner.run(counting(1)) == "1 pieces"

        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert await planner.run(counting(1), is_new=True) == "1 pieces"
        planner.close()

    asyncio.run(scenario())
