"""Ends the process in time, whatever still runs: threads in C code, executors that Python joins, a blocked event loop.

A thread of its own ends child processes, flushes the log and exits. Where even this thread cannot run, `ExitTimer` does
it a moment later. `slimseq.app.server.server` says until when they wait.
"""

import logging
import os
import queue
import threading
import time

import psutil

from slimseq.app.server.exit_timer import ExitTimer

LAST_WORDS_SECONDS = 0.15  # For ending child processes and flushing the log, which could block as well.
WITHOUT_PYTHON_SECONDS = 0.2  # Behind the deadline: when the process ends though no Python code can run.

logger = logging.getLogger(__name__)


class Watchdog:
    """Ends the process with exit code 0 at a deadline, once there is one."""

    def __init__(self) -> None:
        self._deadline = float("inf")
        # Its `put` may be called from a signal's handler, at any moment.
        self._deadlines: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._timer = ExitTimer()

    def start(self) -> None:
        """Starts to wait for a deadline."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """Sets the deadline, unless there is an earlier one. Called on one thread, by handlers of signals too."""
        deadline = time.monotonic() + seconds
        if deadline < self._deadline:
            self._deadline = deadline
            self._timer.set(seconds + WITHOUT_PYTHON_SECONDS)
            self._deadlines.put(deadline)

    def _watch(self) -> None:
        deadline = self._deadlines.get()
        while True:
            try:
                deadline = min(deadline, self._deadlines.get(timeout=max(deadline - time.monotonic(), 0)))
            except queue.Empty:
                break
        last_words = threading.Thread(target=_say_last_words, name="last words", daemon=True)
        last_words.start()
        last_words.join(LAST_WORDS_SECONDS)
        os._exit(0)


def _say_last_words() -> None:
    for child in psutil.Process().children(recursive=True):
        child.kill()
    logger.warning("process ended by force: something did not end in time by itself")
    logging.shutdown()
