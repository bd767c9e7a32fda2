"""What the benchmark commands that start other processes have in common: how they end, and where their figures go."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn, Protocol

from rich.console import Console

from slimseq.models_store.files import write_text

AGAIN_SECONDS = 0.01


class Figures(Protocol):
    """What a benchmark found."""

    def as_json(self) -> str:
        """Returns all of it."""


def end_on_termination() -> None:
    """Makes SIGTERM end this process as an interrupt does, so that the processes it started are stopped.

    Python drops what is raised within a finalizer, and an import runs some: the signal is sent again then.
    """
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = _end_again


def write_json(figures: Figures, path: Path | None) -> None:
    """Writes figures to the file that `--json` names, if it names one."""
    if path is not None:
        write_text(path, figures.as_json())


def wide_console(least: int) -> Console:
    """Returns a console that is wide enough for a table, whatever the terminal."""
    return Console(width=max(Console().width, least))


def _end(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _end_again(dropped: "sys.UnraisableHookArgs") -> None:
    if dropped.exc_type is SystemExit:
        # Not at once: within this hook it would be dropped as well.
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(dropped)
