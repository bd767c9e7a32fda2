"""Processes that call functions, so that a library's crash and its peak of memory are that process's own."""

import os
import resource
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from benchmarks.command import BenchmarkFailed
from benchmarks.servers.process import last_line

ANSWER_SECONDS = 1800.0
SPAWN = get_context("spawn")
STATUS = Path("/proc/self/status")
BYTES_OF_KILOBYTE = 1024


class Child:
    """Such a process. It ends with its block, or with this process.

    Args:
        log: gets what its libraries print.
        threads: of libraries that read their number from the environment.
    """

    def __init__(self, log: Path, threads: int = 1) -> None:
        self._log = log
        self._connection, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, log, str(threads)), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of a module there; returns its value.

        Raises:
            BenchmarkFailed: the function raises, or the process ends. Says why in one line.
        """
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(ANSWER_SECONDS):
                raise BenchmarkFailed(f"gave no answer within {ANSWER_SECONDS:.0f} seconds")
            value, error = self._connection.recv()
        except (EOFError, ConnectionError) as gone:
            self._process.join()
            raise BenchmarkFailed(f"ended with {self._process.exitcode}: {last_line(self._log)}") from gone
        if error:
            raise BenchmarkFailed(error)
        return value

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: Connection, log: Path, threads: str) -> None:
    os.environ |= {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((function(*arguments), None))
        except Exception as error:  # whatever a library raises leaves its system out
            first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            connection.send((None, f"{type(error).__name__}: {first}" if first else type(error).__name__))


def peak_bytes() -> int:
    """Returns the most bytes of memory that this process has held."""
    if STATUS.exists():
        # `ru_maxrss` of a child begins with its parent's on Linux.
        lines = STATUS.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * BYTES_OF_KILOBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * BYTES_OF_KILOBYTE
