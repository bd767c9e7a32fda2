"""The planner's threads: what waits for what, what is cancelled, and what is refused."""

import asyncio
import time
from collections.abc import Callable

import pytest

from slimseq.app.errors import Overloaded
from slimseq.app.generate.planner import MAX_REQUESTS, Planner, WorkSize
from slimseq.inference.text.sentences import Check

pytestmark = pytest.mark.anyio


def work_of(pieces: int, done: list[int] | None = None) -> Callable[[Check], str]:
    """Work of a few milliseconds a piece, with a check before each. `done` receives the finished pieces."""

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
    long = asyncio.create_task(planner.run(work_of(1000, done), WorkSize.LONG))
    await asyncio.sleep(0.05)
    found = list(await asyncio.gather(planner.run(work_of(2), WorkSize.USUAL), planner.run(work_of(1), WorkSize.SHORT)))

    assert found == ["2 pieces", "1 pieces"]
    assert not long.done()
    # Half of the long work, which takes a second, would be a sign that the usual work has waited.
    assert len(done) < 500
    long.cancel()


@pytest.mark.parametrize("is_closed", [False, True], ids=["cancelled", "planner closed"])
async def test_work_that_nobody_waits_for_ends_at_its_next_check(planner: Planner, is_closed: bool) -> None:
    done: list[int] = []
    work = asyncio.create_task(planner.run(work_of(10_000, done), WorkSize.LONG))
    await asyncio.sleep(0.05)
    if is_closed:
        planner.close()
    else:
        work.cancel()
    await asyncio.sleep(0.05)
    pieces_at_end = len(done)
    await asyncio.sleep(0.05)

    assert pieces_at_end < 1000
    assert len(done) == pieces_at_end
    planner.close()
    await asyncio.gather(work, return_exceptions=True)


async def test_above_the_limit_of_requests_new_work_is_refused_and_later_work_of_requests_is_not(
    planner: Planner,
) -> None:
    running = [asyncio.create_task(planner.run(work_of(10_000), WorkSize.LONG)) for _ in range(MAX_REQUESTS)]
    await asyncio.sleep(0.01)

    with pytest.raises(Overloaded):
        await planner.run(work_of(1), WorkSize.USUAL, is_new=True)
    assert await planner.run(work_of(1), WorkSize.USUAL) == "1 pieces"

    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await planner.run(work_of(1), WorkSize.LONG, is_new=True) == "1 pieces"
