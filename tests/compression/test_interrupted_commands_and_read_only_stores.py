"""Two commands on one store, a command that is stopped, and a store that may not be written."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_onnx
from slimseq.models_store.manifest import Task
from tests.command_line import compression
from tests.compression.tiny import tiny_dev, tiny_file
from tests.damage import contents
from tests.forking import Forked, start
from tests.service.client import eventually

TASK = Task.TRANSLATION
STOPPED = "stopped; nothing was left half-written"


def training(context: Context, tmp_path: Path, name: str) -> list[str]:
    """Returns the command of a training that takes longer than any test waits."""
    words = ["distill", TASK.value, "original", "--name", name, "--data", tiny_file(tmp_path)]
    bounds = ["--max-seconds", "600", "--store", str(context.store.root)]
    return ["slimseq", *words, *bounds]


def started(command: list[str], log: Path, sign: Path) -> Forked:
    """Starts a command, and waits until it has made a file."""
    process = start(command, os.environ, log, log)
    ends = time.monotonic() + 240
    while not sign.exists():
        assert process.poll() is None and time.monotonic() < ends, log.read_text()
        time.sleep(0.05)
    return process


def interrupt(process: "Forked | subprocess.Popen[bytes]") -> None:
    """Sends what Ctrl-C sends; a process that does not end by it is not left behind."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def test_the_second_command_for_one_name_is_refused_at_its_start_and_the_first_goes_on(
    context: Context, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    work = context.store.root / TASK / ".tmp-student"
    process = started(training(context, tmp_path, "student"), log, work / ".lock")
    try:
        second = compression("quantize", TASK, "original", "--name", "student", "--store", context.store.root)
        beside = compression("quantize", TASK, "original", "--name", "other", "--store", context.store.root)
        is_running = process.poll() is None
        eventually(log.read_text, lambda text: "Distilling" in text)
    finally:
        interrupt(process)

    assert second.code == 1
    assert second.error == "error: another command is writing translation/student; try again when it has ended\n"
    assert beside.code == 0, beside.error
    assert is_running and process.returncode == 130, log.read_text()
    assert log.read_text().splitlines()[-1] == STOPPED and "Traceback" not in log.read_text()
    assert context.store.variants(TASK) == ["original", "other"]


@pytest.mark.parametrize("seconds", [0.3, 1.5])
def test_ctrl_c_before_the_training_is_one_line_and_leaves_the_store_as_it_was(
    context: Context, tmp_path: Path, seconds: float
) -> None:
    before = contents(context.store.root)
    log, command = tmp_path / "log", [sys.executable, "-m", *training(context, tmp_path, "student")]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, stdout=output)
    # Before Python runs this command's code, there is nobody who could say a word.
    while not has_started(process.pid):
        time.sleep(0.01)
    time.sleep(seconds)

    interrupt(process)

    lines = log.read_text().splitlines()
    assert process.returncode == 130, lines
    assert lines[-1] == STOPPED and "Traceback" not in log.read_text()
    assert contents(context.store.root) == before


def has_started(process: int) -> bool:
    """Whether an interpreter imports modules already: the first compiled ones are mapped then."""
    return "lib-dynload" in Path(f"/proc/{process}/maps").read_text()


@pytest.fixture
def root(context: Context) -> Path:
    """A store that `in_read_only` can mount."""
    root = context.store.root
    if shutil.which("unshare") is None or in_read_only(root, "true").returncode:
        pytest.skip("no folder can be mounted read-only here")
    return root


@pytest.mark.parametrize(
    "words",
    ["quantize translation original --name made", "remove translation original", "rename translation original made",
     "prepare"],
)  # fmt: skip
def test_a_store_on_a_read_only_disk_is_one_line(root: Path, words: str) -> None:
    before = contents(root)

    done = in_read_only(root, sys.executable, "-m", "slimseq", *words.split(), "--store", str(root))

    error = done.stderr.splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert error.startswith("error: translation/") and error.endswith("Read-only file system")
    assert "Traceback" not in done.stderr and contents(root) == before


def test_scores_of_a_read_only_store_are_shown_and_that_they_are_not_recorded_is_an_error(
    context: Context, root: Path, tmp_path: Path
) -> None:
    add_onnx(context, TASK, "original")
    before = contents(root)
    words = ["evaluate", "translation", "original", "--data", tiny_dev(tmp_path), "--record"]

    done = in_read_only(root, sys.executable, "-m", "slimseq", *words, "--store", str(root))

    error = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "bleu" in done.stdout, done.stderr
    assert error.startswith("error: the scores were not recorded: translation/original: translation/original")
    assert error.endswith("Read-only file system") and contents(root) == before


def in_read_only(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command where a folder is on a read-only disk."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    words = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(root), *command)
    return subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False)


# A verb that presses Ctrl-C in the NumPy that ONNX Runtime imports while it initializes.
PRESSING = """
import signal
import sys
import time

from slimseq.cli import main as door


def press(frame, event, argument):
    if frame.f_globals.get("__name__") == "numpy":
        sys.setprofile(None)
        print("pressed", flush=True)
        signal.raise_signal(signal.SIGINT)


def verb():
    sys.setprofile(press)
    import onnxruntime

    time.sleep(60)


if __name__ == "__main__":
    sys.modules["slimseq.cli.pressing"] = sys.modules["__main__"]
    door.VERBS["press"] = ("Make variants", "pressing:verb", "Presses Ctrl-C.")
    door.main()
"""


def test_ctrl_c_while_onnxruntime_is_imported_ends_the_command() -> None:
    done = subprocess.run([sys.executable, "-c", PRESSING, "press"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (130, "pressed\n"), done.stderr
    assert done.stderr == f"{STOPPED}\n"
