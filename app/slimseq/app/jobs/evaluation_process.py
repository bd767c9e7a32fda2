"""Runs a quality evaluation in a child process of low priority, which can be killed at any time.

An evaluation shares no worker, interpreter lock or heap with live requests. `slimseq.app.jobs.evaluation_child` is the
program of the child.
"""

import contextlib
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from slimseq.app.errors import EvaluationEnded, InternalError, named_error
from slimseq.app.jobs.low_priority import end_child, start_child
from slimseq.evaluation.results import Evaluation

COMMAND = (sys.executable, "-m", "slimseq.app.jobs.evaluation_child")

logger = logging.getLogger(__name__)

_running: "set[EvaluationProcess]" = set()


def kill_evaluations() -> None:
    """Kills all child processes at once. May be called on any thread, also while the service ends."""
    for process in tuple(_running):
        process.kill()


@dataclass(frozen=True)
class EvaluationOrder:
    """The input of the child process: one line of JSON, before the posted pairs.

    Args:
        store: folder of the artifacts.
        task: of all variants.
        runtimes: the runtime of each variant, in the order of the results.
        references: the reference of each variant. A variant without one has no retention.
        dataset: name of the data set.
        samples: maximum number of samples.
        pair_bytes: length of the pairs that follow, as a JSON list of `[source, target]`. 0 for a data set.
    """

    store: str
    task: str
    runtimes: Mapping[str, str]
    references: Mapping[str, str]
    dataset: str
    samples: int
    pair_bytes: int

    def line(self) -> bytes:
        """Serializes the order."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Reads an order that `line` wrote."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields)


class EvaluationProcess:
    """The child process of one evaluation. `run` is called once, `kill` on any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def run(
        self, order: EvaluationOrder, take_pairs: Callable[[], bytes], on_progress: Callable[[float], None]
    ) -> Evaluation:
        """Starts the process and waits for its end.

        Args:
            order: the evaluation.
            take_pairs: returns the posted pairs, and frees them in this process.
            on_progress: called with the share of the texts that were generated.

        Raises:
            EvaluationEnded: it was killed, or ended without a result.
            SlimseqError: the evaluation failed with this error.
            InternalError: the evaluation failed with an unexpected exception, which is logged.
        """
        _running.add(self)
        try:
            process = self._start()
            try:
                return self._result(process, order, take_pairs, on_progress)
            finally:
                end_child(process)
        finally:
            _running.discard(self)

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
            self._process = start_child(COMMAND)
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
                case {"error": name, "detail": detail}:
                    raise named_error(name, detail)
                case {"crash": trace}:
                    logger.error("evaluation failed", extra={"exception": trace})
                    raise InternalError()
        raise EvaluationEnded(_how_it_ended(process.wait()))


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}; see the log of the service"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return f"its process was killed ({name}), probably for lack of memory; evaluate fewer or shorter texts"
    return f"its process crashed ({name})"
