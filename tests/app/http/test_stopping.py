"""`BoundedStop` ends a process at its deadline, whatever runs. Each test starts a process of its own."""

import subprocess
import sys
import time

import pytest

# The deadline of each process.
SECONDS = 0.5
START = f"""
import subprocess, sys, threading, time
from slimseq.app.http.stopping import BoundedStop
stop = BoundedStop()
stop.start()
print("started", flush=True)
stop.end_within({SECONDS})
"""


def run(code: str) -> tuple[int, float]:
    """Runs code after `START`. Returns the exit code, and the seconds from the start of the deadline to the end."""
    with subprocess.Popen([sys.executable, "-c", START + code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        try:
            return process.wait(timeout=30), time.monotonic() - started
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("while True: pass", 0),
        ("threading.Thread(target=time.sleep, args=(60,)).start()", 0),
        ("import atexit; atexit.register(time.sleep, 60)", 0),
        (
            "import logging; logging._acquireLock() if hasattr(logging, '_acquireLock') else logging._lock.acquire(); "
            "time.sleep(60)",
            0,
        ),
        # A process that ends by itself keeps its exit code.
        (f"time.sleep({SECONDS} - 0.1); sys.exit(7)", 7),
    ],
    ids=["busy", "thread", "exit handler", "log", "own end"],
)
def test_a_process_ends_at_its_deadline_whatever_runs(code: str, exit_code: int) -> None:
    ended_with, seconds = run(code)

    assert ended_with == exit_code
    # The clock here starts a moment after the deadline was set, and a busy machine may be late.
    assert seconds > SECONDS - 0.2
    assert seconds < SECONDS + 5


def test_the_earliest_of_several_deadlines_counts() -> None:
    exit_code, seconds = run("stop.end_within(60); stop.end_within(0.1); time.sleep(60)")

    assert exit_code == 0
    assert seconds < SECONDS + 5


def test_child_processes_end_too() -> None:
    code = START + "child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    child = done.stdout.split()[1]

    assert done.returncode == 0
    deadline = time.monotonic() + 5
    # `Z`: ended, and nobody has asked for its exit code.
    state = ["ps", "-o", "stat=", "-p", child]
    while subprocess.run(state, capture_output=True, text=True).stdout.strip()[:1] not in ("", "Z"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
