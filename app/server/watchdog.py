"""Ends the process in time, whatever still runs: threads in C code, executors that Python joins, a blocked event loop.

It is a thread of its own that needs nothing but the interpreter. `app.server.server` says until when it waits.
"""

import logging
import os
import queue
import threading
import time

import psutil

LAST_WORDS_SECONDS = 0.2  # For ending child processes and flushing the log, which could block as well.

logger = logging.getLogger(__name__)


class Watchdog:
    """A daemon thread that ends the process with exit code 0 at a deadline, once there is one."""

    def __init__(self) -> None:
        # Its `put` may be called from a signal's handler, at any moment.
        self._deadlines: queue.SimpleQueue[float] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """Sets the deadline; a later one than before changes nothing."""
        self._deadlines.put(time.monotonic() + seconds)

    def _watch(self) -> None:
        deadline = self._deadlines.get()
        while True:
            try:
                deadline = min(deadline, self._deadlines.get(timeout=max(deadline - time.monotonic(), 0)))
            except queue.Empty:
                break
        end_process()


def end_process() -> None:
    """Ends the process and its children at once, with exit code 0."""
    last_words = threading.Thread(target=_say_last_words, name="last words", daemon=True)
    last_words.start()
    last_words.join(LAST_WORDS_SECONDS)
    os._exit(0)


def _say_last_words() -> None:
    for child in psutil.Process().children(recursive=True):
        child.kill()
    logger.warning("process ended by force: something did not end in time by itself")
    logging.shutdown()
