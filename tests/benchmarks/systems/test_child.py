"""A process of its own survives what it runs, and says why it ended."""

import os
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.command import BenchmarkFailed
from benchmarks.systems.child import Child, last_line


def crash() -> None:
    sys.stdout.write("the last words of a library\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_is_named_though_a_library_wrote_something_before(tmp_path: Path) -> None:
    with Child(tmp_path / "log") as child, pytest.raises(BenchmarkFailed) as raised:
        child.call(crash)

    assert str(raised.value) == "its process ended: Fatal Python error: Segmentation fault"


def test_without_a_crash_the_last_line_is_the_reason(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n\nlast\n\n")

    assert last_line(log) == "last"
