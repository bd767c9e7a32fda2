"""The child process that answers shadowed requests again, one after the other. It is started on first use."""

import contextlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from slimseq.app.low_priority import start_child
from slimseq.evaluation.agreement import Agreement
from slimseq.inference.text.plan import Prompt
from slimseq.models_store.manifest import Task

COMMAND = (sys.executable, "-m", "slimseq.app.shadowing.child")

logger = logging.getLogger(__name__)


class ShadowFailed(Exception):
    """Raised when the reference does not answer a request again. No client sees it.

    Attributes:
        is_lasting: whether the reason is not the request, so that the next one would fail too.
    """

    def __init__(self, reason: str, *, is_lasting: bool) -> None:
        super().__init__(reason)
        self.is_lasting = is_lasting


@dataclass(frozen=True)
class Shadow:
    """A request that the reference answers again.

    Args:
        store: folder of the artifacts.
        trusted_keys: PEM texts of the keys that may sign them; None where they need no signature.
        task: of the request.
        variant: that answered; `digest` is that of its artifact.
        reference: the reference of the variant; `reference_digest` is that of its artifact.
        runtime: of the reference.
        prompt: texts and options.
        outputs: the answer, a text for each text of the prompt.
    """

    store: str
    trusted_keys: Sequence[str] | None
    task: Task
    variant: str
    digest: str
    reference: str
    reference_digest: str
    runtime: str
    prompt: Prompt
    outputs: Sequence[str]

    def line(self) -> bytes:
        """Serializes the request."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Reads a request that `line` wrote."""
        fields: dict[str, Any] = json.loads(line)
        prompt = fields["prompt"]
        prompt["stop"] = tuple(prompt["stop"])
        return cls(**fields | {"task": Task(fields["task"]), "prompt": Prompt(**prompt)})


class ShadowProcess:
    """The child process. `answer` is called on one thread at a time, the others on any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def answer(self, shadow: Shadow) -> list[Agreement]:
        """Answers a request with its reference, and returns the agreement of each output.

        Raises:
            ShadowFailed: the reference cannot be opened or does not answer; the process was closed or has crashed.
        """
        with self._lock:
            if self._is_closed:
                raise ShadowFailed("the service is stopping", is_lasting=True)
            if self._process is None:
                self._process = start_child(COMMAND)
            process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        # A closed pipe is a `ValueError`.
        with contextlib.suppress(BrokenPipeError, ValueError):
            process.stdin.write(shadow.line())
            process.stdin.flush()
            if line := process.stdout.readline():
                return _agreements(json.loads(line))
        self.end()
        raise ShadowFailed(f"the process that answers with {shadow.task}/{shadow.reference} ended", is_lasting=True)

    def end(self) -> None:
        """Ends the process, if there is one. The next request starts another one."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            # The pipes stay open: a thread that reads from one reads the end.
            process.kill()
            process.wait()

    def close(self) -> None:
        """Ends the process, and starts no other one."""
        with self._lock:
            self._is_closed = True
        self.end()


def _agreements(message: dict[str, Any]) -> list[Agreement]:
    match message:
        case {"agreements": found}:
            return [Agreement(is_exact, similarity) for is_exact, similarity in found]
        case {"error": name, "trace": trace}:
            logger.error("shadowing failed", extra={"error": name, "trace": trace})
    raise ShadowFailed(f"the reference does not answer: {message['error']}", is_lasting=message["is_lasting"])
