"""Runs what has to be done to a request's texts before they are generated from, so that nothing else waits for it.

Work comes as a generator that yields between small pieces. One thread runs the pieces of all requests in turns, for a
few milliseconds at a time; between turns a request that was cancelled, or is past its deadline, simply has no more.
"""

import asyncio
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from slimseq.app.errors import Overloaded

Result = TypeVar("Result")
Work = Generator[Any, None, Result]

# How long one request has the thread for before it is another's turn.
TURN_SECONDS = 0.01
# Requests whose texts are prepared at a time: with a million characters each, they take about two minutes in all.
MOST_AT_A_TIME = 64
RETRY_AFTER_SECONDS = 5


class Planner:
    """The thread that prepares long texts. Used from the event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="planner")
        self._running = 0

    async def run(self, work: Work[Result]) -> Result:
        """Runs work to its end in turns with that of other requests; a cancelled call ends it after its piece.

        Raises:
            Overloaded: too many requests' texts are being prepared.
        """
        if self._running >= MOST_AT_A_TIME:
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
        """Ends the thread after the piece that it is at."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def finished(work: Work[Result]) -> Result:
    """Runs work to its end at once."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result


def _turn(work: Work[Result]) -> tuple[Result, ...]:
    """Runs pieces for one turn; returns the result once there is one, else nothing."""
    until = time.perf_counter() + TURN_SECONDS
    while time.perf_counter() < until:
        try:
            next(work)
        except StopIteration as end:
            return (end.value,)
    return ()
