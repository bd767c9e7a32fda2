"""Measures the CPU time of code under test: the time of its fastest run, since other processes may slow a run down."""

import gc
import time
from collections.abc import Callable

RUNS = 3


def cpu_seconds(work: Callable[[], object], below: float = 0.0) -> float:
    """Returns the CPU seconds of the fastest of some runs. Once a run takes less than `below`, no other run follows."""
    fastest = float("inf")
    # Collecting the garbage of earlier tests takes longer than most of the measured work.
    gc.disable()
    try:
        for _ in range(RUNS):
            started = time.thread_time()
            work()
            fastest = min(fastest, time.thread_time() - started)
            if fastest < below:
                break
    finally:
        gc.enable()
    return fastest
