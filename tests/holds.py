"""How long work holds the interpreter, so that no other thread runs, such as that of the event loop.

What is measured is CPU time of the work, so that other processes on the machine change little.
"""

import gc
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

# How often another thread looks, and how long Python lets a thread run that others wait for.
LOOK_SECONDS = 0.0002


class Measured(NamedTuple):
    """The CPU seconds that work takes, and the most of them between two looks of another thread."""

    seconds: float
    longest_hold: float


def measure(work: Callable[[], object]) -> Measured:
    """Runs work while another thread looks at it. The garbage collector is off: it has tests of its own."""
    clock = time.pthread_getcpuclockid(threading.get_ident())
    looks: list[float] = []
    has_begun, has_ended = threading.Event(), threading.Event()

    def look() -> None:
        while not has_ended.is_set():
            looks.append(time.clock_gettime(clock))
            has_begun.set()
            time.sleep(LOOK_SECONDS)

    before = sys.getswitchinterval()
    thread = threading.Thread(target=look)
    gc.disable()
    sys.setswitchinterval(LOOK_SECONDS)
    try:
        thread.start()
        has_begun.wait()
        started = time.thread_time()
        work()
        ended = time.thread_time()
    finally:
        has_ended.set()
        thread.join()
        sys.setswitchinterval(before)
        gc.enable()
    places = [started, *(each for each in looks if started < each < ended), ended]
    return Measured(ended - started, max(last - first for first, last in pairwise(places)))
