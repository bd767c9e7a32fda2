"""Each test ends a process of its own."""

import subprocess
import sys
import time

import pytest

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
    """Runs code behind `START`; returns the exit code, and the seconds from the deadline's setting to the end."""
    with subprocess.Popen([sys.executable, "-c", START + code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        try:
            return process.wait(timeout=30), time.monotonic() - started
        finally:
            process.kill()


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "threading.Event().wait()",
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        "import asyncio; asyncio.run(asyncio.to_thread(time.sleep, 60))",
        "import atexit; atexit.register(time.sleep, 60)",
        "import logging; logging._acquireLock() if hasattr(logging, '_acquireLock') else logging._lock.acquire(); "
        "time.sleep(60)",
    ],
    ids=["busy", "waiting", "thread", "executor", "exit handler", "log"],
)
def test_a_process_ends_at_its_deadline_whatever_runs(code: str) -> None:
    exit_code, seconds = run(code)

    assert exit_code == 0
    assert SECONDS - 0.1 < seconds < SECONDS + 5


def test_a_process_that_ends_by_itself_keeps_its_exit_code() -> None:
    assert run("sys.exit(7)")[0] == 7


def test_an_earlier_deadline_counts_and_a_later_one_does_not() -> None:
    exit_code, seconds = run("stop.end_within(60); stop.end_within(0.1); time.sleep(60)")

    assert exit_code == 0 and seconds < SECONDS + 5


def test_child_processes_end_too() -> None:
    code = START + "child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    child = done.stdout.split()[1]

    assert done.returncode == 0
    deadline = time.monotonic() + 5
    while subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True).stdout.strip(" \nZ"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
