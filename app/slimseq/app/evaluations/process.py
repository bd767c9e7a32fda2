"""Runs an evaluation in a child process of low priority, which can be killed at any time.

An evaluation shares no worker, interpreter lock or heap with live requests. The child, `slimseq.app.evaluations.child`,
reads lines of JSON: one `EvaluationOrder`, then a line for each sample and each output that is known already, and then
an empty line. Its module says what it writes.
"""

import contextlib
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from slimseq.app.errors import EvaluationEnded, InternalError, named_error
from slimseq.app.low_priority import end_child, start_child

END_OF_INPUT = b"\n"
COMMAND = (sys.executable, "-m", "slimseq.app.evaluations.child")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationOrder:
    """The request.

    Args:
        kind: `quality` or `latency`.
        store: folder of the artifacts.
        trusted_keys: PEM texts of the keys that may sign them; None where they need no signature.
        task: of all variants.
        runtimes: the runtime of each variant, in the order of the results.
        references: the reference of each variant. A variant without one has no retention.
        dataset: name of the data set.
        samples: maximum number of samples.
        are_samples_known: whether the samples follow. If not, the process loads the data set.
        options: the gate question, or the settings of a latency measurement.
    """

    kind: str
    store: str
    trusted_keys: Sequence[str] | None
    task: str
    runtimes: Mapping[str, str]
    references: Mapping[str, str]
    dataset: str
    samples: int
    are_samples_known: bool
    options: Mapping[str, Any]

    def line(self) -> bytes:
        """Serializes the order."""
        return line_of(asdict(self))

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Reads an order that `line` wrote."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields)


def line_of(message: object) -> bytes:
    """Serializes a message."""
    return json.dumps(message).encode() + b"\n"


class EvaluationProcess:
    """The child process of one evaluation. `run` is called once, `kill` on any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def run(self, lines: Iterable[bytes], on_message: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Starts the process and waits for its end.

        Args:
            lines: its input but for the empty line.
            on_message: called with every message before the result. What it raises ends the process.

        Returns:
            The results.

        Raises:
            EvaluationEnded: it was killed, or ended without a result.
            SlimseqError: the evaluation failed with this error.
            InternalError: the evaluation failed with an unexpected exception, which is logged.
        """
        process = self._start()
        try:
            return self._result(process, lines, on_message)
        finally:
            end_child(process)

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
            self._process = start_child(COMMAND)
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


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}; see the log of the service"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return f"its process was killed ({name}), probably for lack of memory; evaluate fewer or shorter texts"
    return f"its process crashed ({name})"
