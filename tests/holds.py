"""Measures how long work holds the interpreter lock (GIL). Meanwhile no other thread runs, such as the event loop's.

A second thread reads the CPU time of the working thread as often as it can. The longest time between two readings is
the longest hold. It is CPU time, so that other processes on the machine change little.
"""

import gc
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

# The pause between two readings, and the interval after which Python makes a thread give the lock to a waiting one.
READING_SECONDS = 0.0002


class Measured(NamedTuple):
    """The CPU seconds of the work, and the most of them between two readings of the second thread."""

    seconds: float
    longest_hold: float


def measure(work: Callable[[], object]) -> Measured:
    """Runs work and measures its longest hold. The garbage collector, which has tests of its own, is off."""
    clock = time.pthread_getcpuclockid(threading.get_ident())
    readings: list[float] = []
    has_begun, has_ended = threading.Event(), threading.Event()

    def read_clock() -> None:
        while not has_ended.is_set():
            readings.append(time.clock_gettime(clock))
            has_begun.set()
            time.sleep(READING_SECONDS)

    interval_before = sys.getswitchinterval()
    thread = threading.Thread(target=read_clock)
    gc.disable()
    sys.setswitchinterval(READING_SECONDS)
    try:
        thread.start()
        has_begun.wait()
        started = time.thread_time()
        work()
        ended = time.thread_time()
    finally:
        has_ended.set()
        thread.join()
        sys.setswitchinterval(interval_before)
        gc.enable()
    during_work = [started, *(each for each in readings if started < each < ended), ended]
    longest_hold = max(later - earlier for earlier, later in pairwise(during_work))
    return Measured(ended - started, longest_hold)
