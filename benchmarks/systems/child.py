"""A process of its own for a system that is measured: a library's crash and its peak of memory stay in there."""

import faulthandler
import os
import re
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.command import BenchmarkFailed

# Characters of a log's last line that an error shows.
LINE_CHARACTERS = 300
# What Python's faulthandler writes before the stacks.
CRASH = "Fatal Python error"


class Child(ProcessPoolExecutor):
    """A process that calls functions. It ends with the `with` block. `log` gets the output of its libraries."""

    def __init__(self, log: Path, threads: int = 1) -> None:
        super().__init__(1, get_context("spawn"), _start, (log, threads))
        self._log = log

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function in the process. Raises `BenchmarkFailed` if the function fails or the process ends."""
        try:
            value, error = self.submit(_attempt, function, arguments).result()
        except BrokenExecutor as gone:
            raise BenchmarkFailed(f"its process ended: {last_line(self._log)}") from gone
        if error:
            raise BenchmarkFailed(error)
        return value


def _start(log: Path, threads: int) -> None:
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    # A crash writes its reason to the log: what libraries wrote last may say nothing about it.
    faulthandler.enable()


def _attempt(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, str | None]:
    try:
        return function(*arguments), None
    except Exception as error:  # of any library; some cannot be sent to another process
        return None, ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def last_line(log: Path) -> str:
    """Returns the line of a log that says why a process ended: that of a crash, or the last one."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    crashes = [line for line in lines if line.startswith(CRASH)]
    return [*lines, *crashes][-1][:LINE_CHARACTERS] if lines else "it wrote nothing"


def peak_bytes() -> int:
    """Returns the most bytes of memory that this process has held. Only Linux has this file."""
    # Not `ru_maxrss`: in a child it begins with the parent's peak.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [kibibytes] = re.findall(r"VmHWM:\s*(\d+) kB", status)
    return int(kibibytes) * 1024
