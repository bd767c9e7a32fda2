"""What the benchmark commands that start other processes have in common: how they end, and where their figures go."""

import signal
import sys
from pathlib import Path
from typing import NoReturn, Protocol

from rich.console import Console

from models_store.files import write_text


class Figures(Protocol):
    """What a benchmark found."""

    def as_json(self) -> str:
        """Returns all of it."""


def end_on_termination() -> None:
    """Makes SIGTERM end this process as an interrupt does, so that the processes it started are stopped."""
    signal.signal(signal.SIGTERM, _end)


def write_json(figures: Figures, path: Path | None) -> None:
    """Writes figures to the file that `--json` names, if it names one."""
    if path is not None:
        write_text(path, figures.as_json())


def wide_console(least: int) -> Console:
    """Returns a console that is wide enough for a table, whatever the terminal."""
    return Console(width=max(Console().width, least))


def _end(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)
