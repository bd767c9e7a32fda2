import asyncio
import time
from collections.abc import Callable

import pytest

from slimseq.app.errors import Overloaded
from slimseq.app.generate.planner import MAX_REQUESTS, Planner, WorkSize
from slimseq.inference.text.sentences import Check

pytestmark = pytest.mark.anyio


def counting(pieces: int, done: list[int] | None = None) -> Callable[[Check], str]:
    """Work of a few milliseconds a piece, with a check before each."""

    def work(check: Check) -> str:
        for number in range(pieces):
            check()
            time.sleep(0.002)
            if done is not None:
                done.append(number)
        return f"{pieces} pieces"

    return work


async def test_usual_work_does_not_wait_for_long_work_to_end(planner: Planner) -> None:
    done: list[int] = []
    long = asyncio.create_task(planner.run(counting(1000, done), WorkSize.LONG))
    await asyncio.sleep(0.05)
    found = list(
        await asyncio.gather(planner.run(counting(2), WorkSize.USUAL), planner.run(counting(1), WorkSize.SHORT))
    )

    assert found == ["2 pieces", "1 pieces"]
    assert not long.done() and len(done) < 500
    long.cancel()


@pytest.mark.parametrize("is_closed", [False, True])
async def test_work_that_nobody_waits_for_ends_at_its_next_check(planner: Planner, is_closed: bool) -> None:
    done: list[int] = []
    work = asyncio.create_task(planner.run(counting(10_000, done), WorkSize.LONG))
    await asyncio.sleep(0.05)
    if is_closed:
        planner.close()
    else:
        work.cancel()
    await asyncio.sleep(0.05)
    reached = len(done)
    await asyncio.sleep(0.05)

    assert len(done) == reached < 1000
    planner.close()
    await asyncio.gather(work, return_exceptions=True)


async def test_too_many_new_requests_at_a_time_are_refused_and_those_that_are_generated_are_not(
    planner: Planner,
) -> None:
    running = [asyncio.create_task(planner.run(counting(10_000), WorkSize.LONG)) for _ in range(MAX_REQUESTS)]
    await asyncio.sleep(0.01)

    with pytest.raises(Overloaded):
        await planner.run(counting(1), WorkSize.USUAL, is_new=True)
    assert await planner.run(counting(1), WorkSize.USUAL) == "1 pieces"

    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await planner.run(counting(1), WorkSize.LONG, is_new=True) == "1 pieces"
