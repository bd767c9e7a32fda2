"""Child processes of the lowest priority, for evaluations and shadowing. Live requests hardly notice them.

Such a process shares no worker, interpreter lock or heap with live requests, and may be killed at any time. The service
and the process exchange messages: JSON objects, one a line, on standard input and output. The process ends when its
standard input is closed, or by a signal.

The service uses `LowPriorityProcess` and `store_address`; the program of the process uses `message_writer` and
`open_store`.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from slimseq.models_store.store import Store
from slimseq.models_store.trusted_keys import TrustedKeys

Message = dict[str, Any]
Write = Callable[[Message], None]

# Environment variables that limit libraries to one thread.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# The highest nice value, which is the lowest priority (setpriority(2)).
LOWEST_PRIORITY = 19
# proc_pid_oom_score_adj(5): when the system runs out of memory, this process is killed first.
KILLED_FIRST = "1000"
# Sentences that such a process generates at once.
BATCH_ROWS = 16


class LowPriorityProcess:
    """A child process. It starts with the first message. `kill` and `end` may be called on any thread at any time."""

    def __init__(self, module: str) -> None:
        self.command: Sequence[str] = (sys.executable, "-m", module)
        self.is_killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def send(self, messages: Iterable[object]) -> bool:
        """Writes messages. Starts the process if there is none.

        Returns:
            False after `kill`: nothing was started or written. Otherwise True, also if the process has ended meanwhile.
        """
        with self._lock:
            if self.is_killed:
                return False
            if self._process is None:
                self._process = _start(self.command)
            process = self._process
        assert process.stdin is not None
        # The pipe of a process that has ended is broken, and one that `end` has closed raises a `ValueError`. `receive`
        # tells the caller that the process has ended.
        with contextlib.suppress(BrokenPipeError, ValueError):
            for message in messages:
                process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
        return True

    def receive(self) -> Message | None:
        """Waits for the next message. Returns None if the process has ended."""
        process = self._process
        if process is None:
            return None
        assert process.stdout is not None
        # A pipe that `end` has closed, and the part of a line that a killed process wrote, raise a `ValueError`.
        with contextlib.suppress(ValueError):
            line = process.stdout.readline()
            if line:
                message: Message = json.loads(line)
                return message
        return None

    def wait(self) -> int:
        """Waits for the end of a process that sends no further messages. Returns its exit code.

        A negative exit code is the number of the signal that ended the process.
        """
        return self._process.wait() if self._process else 0

    def kill(self) -> None:
        """Kills the process without waiting for its end. `send` starts no other one."""
        with self._lock:
            self.is_killed = True
            if self._process is not None:
                self._process.kill()

    def end(self) -> None:
        """Kills the process, if there is one, and waits for its end. `send` may start another one."""
        with self._lock:
            process = self._process
            self._process = None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def message_writer() -> Write:
    """Returns a function of the child that writes messages to standard output.

    What libraries print goes to standard error from now on.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # File descriptor 1 becomes standard error, also for libraries in C++.
    os.dup2(2, 1)

    def write(message: Message) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    return write


def store_address(store: Store) -> Message:
    """Returns what a child needs to open the same store: the folder, and the PEM texts of the keys that it trusts."""
    return {"root": str(store.root), "trusted_keys": store.trusted.pems if store.trusted else None}


def open_store(address: Message) -> Store:
    """Opens the store of a `store_address` in the child."""
    keys = address["trusted_keys"]
    return Store(Path(address["root"]), None if keys is None else TrustedKeys(tuple(keys)))


def _start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    # The child imports the same code as this process.
    folders = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": folders}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        # Ctrl-C in a terminal goes to the service only, which then kills this process.
        process_group=0,
    )
    _lower_priority(process.pid)
    return process


def _lower_priority(process_id: int) -> None:
    """Gives a process that just started, with one thread, the lowest CPU priority and the highest OOM score."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process_id}/oom_score_adj").write_text(KILLED_FIRST)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process_id, LOWEST_PRIORITY)
    # `SCHED_IDLE` runs a process only when a core has nothing else to do. An evaluation then raises the p95 latency of
    # live requests by 2 % with 4 clients, and by 4 % with 1 client. With `SCHED_BATCH` it was 13 % and 30 %. Measured
    # on two cores that others used too, with `python -m benchmarks.beside_evaluation` of commit 39e4ef66.
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process_id, os.SCHED_IDLE, os.sched_param(0))
