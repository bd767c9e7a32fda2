"""Starts processes of `benchmarks.peer_child`, asks them one at a time, and says in one line why one fails."""

import json
import os
import select
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from benchmarks.peer_systems import Place
from benchmarks.servers.process import last_line
from slimseq.evaluation.fastest import Layout

ANSWER_SECONDS = 1800.0
STOP_SECONDS = 20.0


class SystemFailed(Exception):
    """Raised when a system cannot be made or opened, or does not generate. Says why in one line."""


class Child:
    """One process that answers messages. It ends with its block, or with this process."""

    def __init__(self, place: Place, system: str | None = None, layout: Layout | None = None) -> None:
        """Starts it.

        Args:
            place: the model's folder, which gets a log too.
            system: to hold open; None makes files.
            layout: of the system's threads.
        """
        layout = layout or Layout(1, 1)
        name = f"{system or 'make'}-{layout.workers}x{layout.threads}"
        self._log = place.folder / f"{name}.log"
        command = [sys.executable, "-m", "benchmarks.peer_child", "--folder", str(place.folder), "--task", place.task]
        if system is not None:
            command += ["--system", system, "--workers", str(layout.workers), "--threads", str(layout.threads)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(layout.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def begun(self) -> dict[str, Any]:
        """Waits until it is ready; returns what it says then.

        Raises:
            SystemFailed: it cannot open its system.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        if not ready:
            raise SystemFailed(f"gave no answer within {ANSWER_SECONDS:.0f} seconds")
        line = self._process.stdout.readline()
        if not line:
            raise SystemFailed(f"ended with {self._process.wait()}: {last_line(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SystemFailed(answer["error"])
        return answer

    def ask(self, **message: Any) -> dict[str, Any]:
        """Sends a message and returns the answer to it.

        Raises:
            SystemFailed: it cannot do what it is asked for, or is no longer there.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SystemFailed(f"ended with {self._process.wait()}: {last_line(self._log)}") from error
        return self.begun()

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what it was not told in time
                    continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
