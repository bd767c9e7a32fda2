"""Benchmark commands that start other processes end when they are told to, whatever they are at."""

import signal
import subprocess
import sys

SCRIPT = """
import signal
import time

from benchmarks.command import end_on_termination


class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


end_on_termination()
try:
    Finalized()
    time.sleep(30)
finally:
    print("cleaned up")
"""


def test_a_signal_that_arrives_in_a_finalizer_ends_the_command_as_well() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=20, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "cleaned up\n", "")
