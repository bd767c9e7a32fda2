"""CPU time of code under test: of several runs the fastest, since what else the machine does may slow one down."""

import gc
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

RUNS = 3
Result = TypeVar("Result")


@contextmanager
def _without_collections() -> Iterator[None]:
    """Collecting the garbage of all tests before takes longer than most of what is measured."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def cpu_seconds(work: Callable[[], object], below: float = 0.0) -> float:
    """Returns the seconds of CPU time of the fastest run. The first one that takes less than `below` is the last."""
    fastest = float("inf")
    with _without_collections():
        for _ in range(RUNS):
            started = time.thread_time()
            work()
            fastest = min(fastest, time.thread_time() - started)
            if fastest < below:
                break
    return fastest


def longest_step(begin: Callable[[], Generator[object, None, Result]], below: float) -> tuple[float, Result]:
    """Runs a generator to its end, again until no step takes `below` seconds.

    Returns the seconds of CPU time of the longest step in the fastest run, and the generator's result.
    """
    fastest = float("inf")
    with _without_collections():
        for _ in range(RUNS):
            longest, result = _longest_step(begin())
            fastest = min(fastest, longest)
            if fastest < below:
                break
    return fastest, result


def _longest_step(work: Generator[object, None, Result]) -> tuple[float, Result]:
    longest = 0.0
    while True:
        started = time.thread_time()
        try:
            next(work)
        except StopIteration as end:
            return max(longest, time.thread_time() - started), end.value
        longest = max(longest, time.thread_time() - started)
