"""Runs a quality evaluation in a process of its own, which can be killed, and gives way to what the service does.

Whatever an evaluation takes, generating or scoring, it takes from its process: no worker of live requests, no lock of
this interpreter, and no memory that would stay. The other side is `slimseq.app.jobs.evaluation_child`.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from slimseq.app.errors import EvaluationEnded, InternalError
from slimseq.app.jobs.evaluation_order import EvaluationOrder
from slimseq.evaluation.results import Evaluation
from slimseq.models_store.errors import SlimseqError

COMMAND = (sys.executable, "-m", "slimseq.app.jobs.evaluation_child")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1") | {
    "TOKENIZERS_PARALLELISM": "false"
}
LEAST_PRIORITY = 19
# proc_pid_oom_score_adj(5): when memory ends, this process is killed before all others.
KILLED_FIRST = "1000"

logger = logging.getLogger(__name__)

_running: "set[EvaluationProcess]" = set()


def kill_evaluations() -> None:
    """Kills every evaluation's process at once. May be called from any thread, also while the service ends."""
    for process in tuple(_running):
        process.kill()


class EvaluationProcess:
    """One evaluation's process. `run` is called once, `kill` by anyone at any time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def run(
        self, order: EvaluationOrder, take_pairs: Callable[[], bytes], on_progress: Callable[[float], None]
    ) -> Evaluation:
        """Starts the process and waits for its end.

        Args:
            order: what is evaluated.
            take_pairs: gives the pairs away, which this process does not hold longer than it must.
            on_progress: told which part of the texts were generated.

        Raises:
            EvaluationEnded: it was killed, or ended by itself without a result.
            SlimseqError: what the evaluation failed with there.
            InternalError: the same, where it was nothing that a client should see.
        """
        _running.add(self)
        try:
            process = self._start()
            try:
                return self._result(process, order, take_pairs, on_progress)
            finally:
                # Nothing that it still holds is of use.
                process.kill()
                process.wait()
                for pipe in filter(None, (process.stdin, process.stdout)):
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        finally:
            _running.discard(self)

    def kill(self) -> None:
        """Ends the process at once, or keeps it from starting."""
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
                # A terminal's Ctrl-C is for the service, which then ends this process.
                process_group=0,
            )
        _give_way(self._process.pid)
        return self._process

    def _result(
        self,
        process: "subprocess.Popen[bytes]",
        order: EvaluationOrder,
        take_pairs: Callable[[], bytes],
        on_progress: Callable[[float], None],
    ) -> Evaluation:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(order.line())
            process.stdin.write(take_pairs())
            process.stdin.flush()
        for line in process.stdout:
            match json.loads(line):
                case {"progress": part}:
                    on_progress(part)
                case {"result": found}:
                    return Evaluation.model_validate(found)
                case {"error": error}:
                    _raise(error)
                case {"crash": trace}:
                    logger.error("evaluation failed", extra={"exception": trace})
                    raise InternalError()
        raise EvaluationEnded(_how_it_ended(process.wait()))


def _environment() -> dict[str, str]:
    # The same code as this process runs, wherever it was started.
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _give_way(process_id: int) -> None:
    """Makes a process that has just started, and has one thread, the last to get a core and the first to be killed."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process_id}/oom_score_adj").write_text(KILLED_FIRST)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process_id, LEAST_PRIORITY)
    # `SCHED_BATCH` instead raises the p95 of live requests by 13 % (4 clients) and 30 % (1 client), this by 2 % and 4 %
    # (two cores that others used too; `python -m benchmarks.beside_evaluation`).
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process_id, os.SCHED_IDLE, os.sched_param(0))


def _raise(error: dict[str, Any]) -> NoReturn:
    """Raises what was raised in the other process: an error of the same name, status, title and text."""
    kind: type[SlimseqError] = type(
        error["kind"], (SlimseqError,), {"status": error["status"], "title": error["title"]}
    )
    raise kind(error["detail"])


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}; the service's log may tell why"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return f"its process was killed ({name}), as the system does when memory ends; evaluate fewer or shorter texts"
    return f"its process crashed ({name})"
