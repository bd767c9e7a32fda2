"""Runs an evaluation in a child process of low priority, which can be killed at any time.

An evaluation shares no worker, interpreter lock or heap with live requests. `slimseq.app.jobs.evaluation_child` is the
program of the child.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from slimseq.app.errors import EvaluationEnded, InternalError, named_error
from slimseq.app.jobs.evaluation_order import END_OF_INPUT

COMMAND = (sys.executable, "-m", "slimseq.app.jobs.evaluation_child")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1") | {
    "TOKENIZERS_PARALLELISM": "false"
}
LEAST_PRIORITY = 19
# proc_pid_oom_score_adj(5): when the system runs out of memory, this process is killed first.
KILLED_FIRST = "1000"

logger = logging.getLogger(__name__)

_running: "set[EvaluationProcess]" = set()


def kill_evaluations() -> None:
    """Kills all child processes at once. May be called on any thread, also while the service ends."""
    for process in tuple(_running):
        process.kill()


class EvaluationProcess:
    """The child process of one evaluation. `run` is called once, `kill` on any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def run(self, lines: Iterable[bytes], on_message: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Starts the process and waits for its end.

        Args:
            lines: its input, as `slimseq.app.jobs.evaluation_order` describes.
            on_message: called with every message before the result. What it raises ends the process.

        Returns:
            The results, as `slimseq.app.jobs.evaluation_child` describes.

        Raises:
            EvaluationEnded: it was killed, or ended without a result.
            SlimseqError: the evaluation failed with this error.
            InternalError: the evaluation failed with an unexpected exception, which is logged.
        """
        _running.add(self)
        try:
            process = self._start()
            try:
                return self._result(process, lines, on_message)
            finally:
                # It has no further results.
                process.kill()
                process.wait()
                for pipe in filter(None, (process.stdin, process.stdout)):
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        finally:
            _running.discard(self)

    @property
    def is_killed(self) -> bool:
        """Whether `kill` was called."""
        return self._is_killed

    def kill(self) -> None:
        """Kills the process, or prevents its start."""
        with self._lock:
            self._is_killed = True
            if self._process is not None:
                self._process.kill()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._is_killed:
                raise EvaluationEnded("its process was not started")
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
                # Ctrl-C in a terminal goes to the service only, which then kills this process.
                process_group=0,
            )
        _lower_priority(self._process.pid)
        return self._process

    def _result(
        self,
        process: "subprocess.Popen[bytes]",
        lines: Iterable[bytes],
        on_message: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            for line in lines:
                process.stdin.write(line)
            process.stdin.write(END_OF_INPUT)
            process.stdin.flush()
        for line in process.stdout:
            match json.loads(line):
                case {"result": dict(found)}:
                    return found
                case {"error": name, "detail": detail}:
                    raise named_error(name, detail)
                case {"crash": trace}:
                    logger.error("evaluation failed", extra={"exception": trace})
                    raise InternalError()
                case message:
                    on_message(message)
        raise EvaluationEnded(_how_it_ended(process.wait()))


def _environment() -> dict[str, str]:
    # The child imports the same code as this process.
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _lower_priority(process_id: int) -> None:
    """Gives a process that just started, with one thread, the lowest CPU priority and the highest OOM score."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process_id}/oom_score_adj").write_text(KILLED_FIRST)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process_id, LEAST_PRIORITY)
    # `SCHED_BATCH` instead raises the p95 of live requests by 13 % (4 clients) and 30 % (1 client), this by 2 % and 4 %
    # (two cores that others used too; `python -m benchmarks.beside_evaluation`).
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process_id, os.SCHED_IDLE, os.sched_param(0))


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}; see the log of the service"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return f"its process was killed ({name}), probably for lack of memory; evaluate fewer or shorter texts"
    return f"its process crashed ({name})"
