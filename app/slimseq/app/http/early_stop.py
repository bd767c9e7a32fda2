"""Ends a service that is still starting on SIGTERM or SIGINT, with exit code 0.

It is called before anything large is imported, and therefore imports nothing itself. `slimseq.app.http.server`
replaces these handlers when it has something to shut down.
"""

import os
import signal
from types import FrameType


def stop_at_once() -> None:
    """Installs handlers that end the process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    # Not `sys.exit`: code that is being imported may catch its exception.
    os._exit(0)
