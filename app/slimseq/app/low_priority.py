"""Child processes of the lowest priority, which live requests hardly notice: how to start one, and how one answers.

Such a process shares no worker, interpreter lock or heap with live requests, and may be killed at any time.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Write = Callable[[dict[str, Any]], None]

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1") | {
    "TOKENIZERS_PARALLELISM": "false"
}
LEAST_PRIORITY = 19
# proc_pid_oom_score_adj(5): when the system runs out of memory, this process is killed first.
KILLED_FIRST = "1000"


def start_child(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Starts a program with one thread, with pipes to its standard input and from its standard output."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # The child imports the same code as this process.
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # Ctrl-C in a terminal goes to the service only, which then kills this process.
        process_group=0,
    )
    _lower_priority(process.pid)
    return process


def end_child(process: "subprocess.Popen[bytes]") -> None:
    """Kills a child that has no further results, and closes the pipes."""
    process.kill()
    process.wait()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def message_writer() -> Write:
    """Returns a function of the child that writes JSON lines to standard output.

    What libraries print goes to standard error from now on.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def write(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    return write


def _lower_priority(process_id: int) -> None:
    """Gives a process that just started, with one thread, the lowest CPU priority and the highest OOM score."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process_id}/oom_score_adj").write_text(KILLED_FIRST)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process_id, LEAST_PRIORITY)
    # `SCHED_BATCH` instead raises the p95 of live requests by 13 % (4 clients) and 30 % (1 client), this by 2 % and 4 %
    # (two cores that others used too; `python -m benchmarks.beside_evaluation` of commit 39e4ef66).
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process_id, os.SCHED_IDLE, os.sched_param(0))
