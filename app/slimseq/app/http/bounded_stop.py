"""Ends the process at a deadline, whatever still runs in Python: threads, executors, a blocked event loop.

C code that holds the interpreter is not ended: whoever sent SIGTERM sends SIGKILL, as container engines do.
`slimseq.app.http.server` sets the deadlines.
"""

import logging
import os
import queue
import threading
import time

import psutil

CLEANUP_SECONDS = 0.15  # Time to kill child processes and flush the log, which could block as well.

logger = logging.getLogger(__name__)


class BoundedStop:
    """Ends the process with exit code 0 at the earliest of its deadlines."""

    def __init__(self) -> None:
        # `put` of a SimpleQueue is safe in signal handlers.
        self._deadlines: queue.SimpleQueue[float] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts the thread, which waits for a deadline."""
        threading.Thread(target=self._watch, name="bounded-stop", daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """Adds a deadline. Called by signal handlers too."""
        self._deadlines.put(time.monotonic() + seconds)

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
