"""The planner's threads: which work waits for other work, which is cancelled, and which is refused."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from slimseq.app.errors import Overloaded
from slimseq.app.generate.planner import MAX_REQUESTS, Planner, WorkSize, planning_size
from slimseq.inference.text.rows import Prompt
from slimseq.inference.text.sentences import Check

pytestmark = pytest.mark.anyio


PIECE_SECONDS = 0.002


def work_of(pieces: int, done: list[int] | None = None) -> Callable[[Check], str]:
    """Returns work of several pieces, with a check before each piece. `done` receives the finished pieces."""

    def work(check: Check) -> str:
        for number in range(pieces):
            check()
            time.sleep(PIECE_SECONDS)
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
    # All 1,000 pieces take two seconds. The usual work took less than half of this time, so it did not wait for them.
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

    assert pieces_at_end < 1000, "of 10,000, which would take 20 seconds"
    assert len(done) == pieces_at_end, "the work goes on"
    planner.close()
    await asyncio.gather(work, return_exceptions=True)


async def test_middle_work_does_not_wait_for_usual_work_to_end(planner: Planner) -> None:
    usual = asyncio.create_task(planner.run(work_of(1000), WorkSize.USUAL))
    await asyncio.sleep(0.05)

    assert await planner.run(work_of(2), WorkSize.MIDDLE) == "2 pieces"
    assert not usual.done()

    usual.cancel()


async def test_only_short_work_runs_on_the_event_loop(planner: Planner) -> None:
    def thread(check: Check) -> str:
        return threading.current_thread().name

    names = {size: await planner.run(thread, size) for size in WorkSize}

    assert names[WorkSize.SHORT] == threading.current_thread().name
    assert len({*names.values()}) == len(WorkSize), "each other size has a thread of its own"


@pytest.mark.parametrize(
    ("characters", "size"),
    [(100, WorkSize.SHORT), (1000, WorkSize.MIDDLE), (10_000, WorkSize.USUAL), (100_000, WorkSize.LONG)],
)
async def test_a_sentence_is_planned_at_once_and_an_article_on_a_thread(characters: int, size: WorkSize) -> None:
    assert planning_size(Prompt(["a" * characters])) is size


async def start_as_many_as_allowed(planner: Planner) -> list[asyncio.Task[str]]:
    running = [asyncio.create_task(planner.run(work_of(10_000), WorkSize.LONG)) for _ in range(MAX_REQUESTS)]
    # The tasks begin to run.
    await asyncio.sleep(0.01)
    return running


async def cancel_all(tasks: list[asyncio.Task[str]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_work_of_a_request_is_refused_above_the_limit(planner: Planner) -> None:
    running = await start_as_many_as_allowed(planner)

    with pytest.raises(Overloaded):
        await planner.run(work_of(1), WorkSize.USUAL, is_new=True)

    await cancel_all(running)


async def test_articles_are_never_refused(planner: Planner) -> None:
    running = await start_as_many_as_allowed(planner)

    articles = [planner.run(work_of(1), WorkSize.MIDDLE, is_new=True) for _ in range(2 * MAX_REQUESTS)]

    assert await asyncio.gather(*articles) == ["1 pieces"] * 2 * MAX_REQUESTS
    await cancel_all(running)


async def test_the_later_work_of_a_request_is_not_refused_above_the_limit(planner: Planner) -> None:
    running = await start_as_many_as_allowed(planner)

    assert await planner.run(work_of(1), WorkSize.USUAL) == "1 pieces"

    await cancel_all(running)


async def test_work_that_was_cancelled_no_longer_counts_against_the_limit(planner: Planner) -> None:
    running = await start_as_many_as_allowed(planner)

    await cancel_all(running)

    assert await planner.run(work_of(1), WorkSize.LONG, is_new=True) == "1 pieces"
