"""Runs the preparation of texts on threads where it takes long, so that the event loop is free.

CPython switches between threads every 5 ms, so these few threads delay the event loop by little. The work is a plain
function. It calls a check between texts and lines, which ends the work of a cancelled or expired request.
"""

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TypeVar

from slimseq.app.errors import Overloaded
from slimseq.inference.text.segmenter import Check, unchecked

Result = TypeVar("Result")

# Maximum number of requests in preparation. With a million characters each, they take about two minutes in all.
MAX_REQUESTS = 64
RETRY_AFTER_SECONDS = 5


class Size(Enum):
    """How long work takes: a few milliseconds on the calling thread, or longer on one of the planner's threads."""

    SHORT = "short"
    USUAL = "usual"
    # It may take seconds. The usual work does not wait for it.
    LONG = "long"


class NotAwaited(Exception):
    """Nobody waits for the result of the work any more."""


class Planner:
    """A thread for each size of work. Used from the event loop."""

    def __init__(self) -> None:
        self._threads = {size: ThreadPoolExecutor(1, f"planner {size.value}") for size in (Size.USUAL, Size.LONG)}
        self._running = 0
        self._is_closing = threading.Event()

    async def run(self, work: Callable[[Check], Result], size: Size, *, is_new: bool = False) -> Result:
        """Runs work. To cancel the call ends the work at its next check.

        Args:
            work: to run, with the check that it should call.
            size: how long it takes.
            is_new: it is the first work of a request. What is already generated is never refused.

        Raises:
            Overloaded: the work is that of a new request, and too many are in preparation.
        """
        if size is Size.SHORT:
            return work(unchecked)
        if is_new and self._running >= MAX_REQUESTS:
            raise Overloaded(f"the texts of {self._running} requests are being prepared", RETRY_AFTER_SECONDS)
        is_cancelled = threading.Event()

        def check() -> None:
            if is_cancelled.is_set() or self._is_closing.is_set():
                raise NotAwaited

        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads[size], work, check)
        finally:
            is_cancelled.set()
            self._running -= 1

    def close(self) -> None:
        """Ends what runs at its next check."""
        self._is_closing.set()
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)


def finished(work: Generator[object, None, Result]) -> Result:
    """Returns the result of a generator that reads or writes markup."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
