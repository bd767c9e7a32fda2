"""Ends the process at a deadline, whatever still runs: threads in C code, executors, a blocked event loop.

A thread kills child processes, flushes the log and exits. If this thread cannot run, `ExitTimer` ends the process a
moment later. `slimseq.app.server.server` sets the deadlines.
"""

import logging
import os
import queue
import threading
import time

import psutil

from slimseq.app.server.exit_timer import ExitTimer

CLEANUP_SECONDS = 0.15  # Time to kill child processes and flush the log, which could block as well.
TIMER_DELAY_SECONDS = 0.2  # After the deadline: `ExitTimer` ends the process.

logger = logging.getLogger(__name__)


class Watchdog:
    """Ends the process with exit code 0 at a deadline."""

    def __init__(self) -> None:
        self._deadline = float("inf")
        # `put` of a SimpleQueue is safe in signal handlers.
        self._deadlines: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._timer = ExitTimer()

    def start(self) -> None:
        """Starts the thread, which waits for a deadline."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """Sets the deadline, unless there is an earlier one. Called on the main thread, also by signal handlers."""
        deadline = time.monotonic() + seconds
        if deadline < self._deadline:
            self._deadline = deadline
            self._timer.set(seconds + TIMER_DELAY_SECONDS)
            self._deadlines.put(deadline)

    def _watch(self) -> None:
        deadline = self._deadlines.get()
        while True:
            try:
                deadline = min(deadline, self._deadlines.get(timeout=max(deadline - time.monotonic(), 0)))
            except queue.Empty:
                break
        cleanup = threading.Thread(target=_clean_up, name="cleanup", daemon=True)
        cleanup.start()
        cleanup.join(CLEANUP_SECONDS)
        os._exit(0)


def _clean_up() -> None:
    for child in psutil.Process().children(recursive=True):
        child.kill()
    logger.warning("process ended by force: something did not stop in time")
    logging.shutdown()
