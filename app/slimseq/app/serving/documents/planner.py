"""Runs the preparation of long texts on a thread of its own, so that it blocks no other request.

Work is a generator that yields between small steps. The thread runs the requests in turns of a few milliseconds. A
cancelled or expired request gets no further turns.
"""

import asyncio
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from slimseq.app.errors import Overloaded

Result = TypeVar("Result")
Work = Generator[Any, None, Result]

# Length of a turn.
TURN_SECONDS = 0.01
# Maximum number of requests in preparation. With a million characters each, they take about two minutes in all.
MAX_REQUESTS = 64
RETRY_AFTER_SECONDS = 5


class Planner:
    """Runs the steps on its thread. Used from the event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="planner")
        self._running = 0

    async def run(self, work: Work[Result], is_short: bool = False, *, is_new: bool = False) -> Result:
        """Runs work to its end, in turns with other requests. To cancel the call ends the work after its step.

        Args:
            work: to run.
            is_short: the work takes a few milliseconds at most, and runs at once on the calling thread.
            is_new: it is the first work of a request. What is already generated is never refused.

        Raises:
            Overloaded: the work is that of a new request, and too many are in preparation.
        """
        if is_short:
            return finished(work)
        if is_new and self._running >= MAX_REQUESTS:
            raise Overloaded(f"the texts of {self._running} requests are being prepared", RETRY_AFTER_SECONDS)
        loop = asyncio.get_running_loop()
        self._running += 1
        try:
            while not (ended := await loop.run_in_executor(self._thread, _turn, work)):
                pass
            return ended[0]
        finally:
            self._running -= 1

    def close(self) -> None:
        """Ends the thread after its current step."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def finished(work: Work[Result]) -> Result:
    """Runs work to its end on the calling thread."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result


def _turn(work: Work[Result]) -> tuple[Result, ...]:
    """Runs steps for one turn. Returns a tuple with the result once the work has ended, else an empty one."""
    until = time.perf_counter() + TURN_SECONDS
    while time.perf_counter() < until:
        try:
            next(work)
        except StopIteration as end:
            return (end.value,)
    return ()
