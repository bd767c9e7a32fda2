"""Ends the process in time, whatever still runs in Python: imports, threads, executors, a blocked event loop.

C code that holds the interpreter is not ended: whoever sent SIGTERM sends SIGKILL, as container engines do.
`slimseq.app.http.server` sets the deadlines. This module is imported before anything large, and imports nothing large.
"""

import logging
import os
import queue
import signal
import threading
import time
from types import FrameType

CLEANUP_SECONDS = 0.15  # Time to kill child processes and flush the log, which could block as well.

logger = logging.getLogger(__name__)


def exit_on_signals_while_starting() -> None:
    """Installs handlers that end a process that is still starting. The server replaces them.

    The exit code is 0: whoever sends the signal wants the process to stop, so that this is no failure.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    # Not `sys.exit`: code that is being imported may catch its exception.
    os._exit(0)


class BoundedStop:
    """Ends the process with exit code 0 at the earliest of its deadlines."""

    def __init__(self) -> None:
        # `put` of a SimpleQueue is safe in signal handlers.
        self._deadlines: queue.SimpleQueue[float] = queue.SimpleQueue()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="bounded-stop", daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """Adds a deadline. Called by signal handlers too."""
        self._deadlines.put(time.monotonic() + seconds)

    def _watch(self) -> None:
        deadline = self._deadlines.get()
        while True:
            seconds_left = max(deadline - time.monotonic(), 0)
            try:
                another = self._deadlines.get(timeout=seconds_left)
            except queue.Empty:
                break
            deadline = min(deadline, another)
        cleanup = threading.Thread(target=_clean_up, name="cleanup", daemon=True)
        cleanup.start()
        cleanup.join(CLEANUP_SECONDS)
        os._exit(0)


def _clean_up() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    logger.warning("process ended by force: something did not stop in time")
    logging.shutdown()
