"""The process of an evaluation: how the service reports its end, its errors and its death."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from slimseq.app.errors import EvaluationEnded, InternalError
from slimseq.app.evaluations.runner import CHILD, run_process
from slimseq.app.evaluations.schemas import Claim
from slimseq.app.low_priority import LowPriorityProcess
from slimseq.models_store.errors import BadSignature
from slimseq.models_store.manifest import Task
from slimseq.models_store.signing import sign
from slimseq.models_store.store import Store
from slimseq.models_store.trusted_keys import TrustedKeys
from tests.models_store.test_signing import keys

STORE = Store(Path("store"))
RUNTIMES = {"original": "onnxruntime"}
CLAIM = Claim(1, "one", "us", "translation", ["original"], {}, {}, RUNTIMES, "pairs", 1, True, "")
SAMPLE = {"sample": ["a", "b"]}


def process(program: str) -> LowPriorityProcess:
    """Returns a process that runs a program of the test in place of the real one, after it has read its input.

    The input has three lines: the evaluation, one sample, and `null`.
    """
    child = LowPriorityProcess(CHILD)
    read_input = "import os, sys, time\nread = [sys.stdin.buffer.readline() for _ in range(3)]\n"
    child.command = (sys.executable, "-c", read_input + program)
    return child


def run(child: LowPriorityProcess, on_message: Callable[[Any], None] = lambda _: None) -> Any:
    return run_process(child, STORE, CLAIM, [SAMPLE], on_message)


def test_the_exit_code_of_a_process_that_ends_without_a_result_is_reported() -> None:
    with pytest.raises(EvaluationEnded, match="exit code 3"):
        run(process("sys.exit(3)"))


def test_an_unexpected_error_is_shown_only_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(InternalError) as raised:
        run(process("""print('{"crash": "Traceback: a secret path"}')"""))

    assert "secret" not in str(raised.value)
    assert [vars(record)["exception"] for record in caplog.records] == ["Traceback: a secret path"]


def test_a_process_that_was_killed_before_its_start_does_not_start() -> None:
    child = process("time.sleep(600)")

    child.kill()
    with pytest.raises(EvaluationEnded, match="not started"):
        run(child)

    assert child._process is None


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="other systems have no such scheduling")
def test_a_process_has_the_lowest_priority_and_can_be_killed_while_it_runs() -> None:
    child = process("print('{\"progress\": 0.5}', flush=True); time.sleep(600)")
    # The nice value, the scheduling policy, and how soon the system kills the process when memory runs out.
    priorities: list[tuple[int, int, str]] = []

    def note_priority_and_kill(_: object) -> None:
        [found] = [each for each in psutil.Process().children() if "time.sleep(600)" in each.cmdline()[-1]]
        oom_score = Path(f"/proc/{found.pid}/oom_score_adj").read_text(encoding="ascii").strip()
        priorities.append((found.nice(), os.sched_getscheduler(found.pid), oom_score))
        threading.Thread(target=child.kill).start()

    with pytest.raises(EvaluationEnded, match="killed"):
        run(child, note_priority_and_kill)

    assert priorities == [(19, os.SCHED_IDLE, "1000")]


def test_an_evaluation_opens_only_what_a_trusted_key_signed(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    store = Store(own_store.root, TrustedKeys.read([public]))

    with pytest.raises(BadSignature, match="translation/original is not signed"):
        run_process(LowPriorityProcess(CHILD), store, CLAIM, [SAMPLE], print)
    sign(own_store, Task.TRANSLATION, "original", private)
    result = run_process(LowPriorityProcess(CHILD), store, CLAIM, [SAMPLE], print)

    assert [each["variant"] for each in result["results"]] == ["original"]
