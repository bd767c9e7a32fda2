"""Two commands on one store, a command that is interrupted, and a store on a read-only disk."""

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
# Exit code of a command that SIGINT ended: 128 and the number of the signal.
INTERRUPTED = 130
# A busy machine takes a minute to import torch. A process that takes longer than this hangs.
START_SECONDS = 240
END_SECONDS = 60


def long_training(context: Context, tmp_path: Path, name: str) -> list[str]:
    """Returns the command of a training that takes longer than any test waits."""
    words = ["distill", TASK.value, "original", "--name", name, "--data", tiny_file(tmp_path)]
    bounds = ["--max-seconds", "600", "--store", str(context.store.root)]
    return ["slimseq", *words, *bounds]


def start_and_wait_for(command: list[str], log: Path, marker: Path) -> Forked:
    """Starts a command, and waits until it has made the file `marker`."""
    process = start(command, os.environ, log, log)
    deadline = time.monotonic() + START_SECONDS
    while not marker.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return process


def wait_until_modules_are_imported(process: int) -> None:
    """Waits until an interpreter has mapped its first compiled module."""
    while "lib-dynload" not in Path(f"/proc/{process}/maps").read_text():
        time.sleep(0.01)


def interrupt(process: "Forked | subprocess.Popen[bytes]") -> None:
    """Sends the signal that Ctrl-C sends. A process that does not end by it is killed, so that none is left behind."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_SECONDS)
    finally:
        process.kill()
        process.wait()


def run_on_read_only(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command for which the folder `root` is on a read-only disk."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    words = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(root), *command)
    return subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False)


@pytest.fixture
def read_only_root(context: Context) -> Path:
    """The folder of a store that `run_on_read_only` can mount."""
    root = context.store.root
    if shutil.which("unshare") is None or run_on_read_only(root, "true").returncode:
        pytest.skip("no folder can be mounted read-only here")
    return root


def test_the_second_command_for_one_name_is_refused_at_its_start_and_the_first_goes_on(
    context: Context, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    lock = context.store.root / TASK / ".tmp-student" / ".lock"
    first = start_and_wait_for(long_training(context, tmp_path, "student"), log, lock)
    try:
        same_name = compression("quantize", TASK, "original", "--name", "student", "--store", context.store.root)
        other_name = compression("quantize", TASK, "original", "--name", "other", "--store", context.store.root)
        is_first_running = first.poll() is None
        eventually(log.read_text, lambda text: "Distilling" in text)
    finally:
        interrupt(first)

    assert same_name.code == 1
    assert same_name.error == "error: another command is writing translation/student; try again when it has ended\n"
    assert other_name.code == 0, other_name.error
    assert is_first_running, log.read_text()
    assert first.returncode == INTERRUPTED, log.read_text()
    assert log.read_text().splitlines()[-1] == STOPPED
    assert "Traceback" not in log.read_text()
    assert context.store.variants(TASK) == ["original", "other"]


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(0.3, id="while the first modules are imported"),
        pytest.param(1.5, id="while torch is imported or the model is read"),
    ],
)
def test_ctrl_c_before_the_training_is_one_line_and_leaves_the_store_as_it_was(
    context: Context, tmp_path: Path, seconds: float
) -> None:
    before = contents(context.store.root)
    log, command = tmp_path / "log", [sys.executable, "-m", *long_training(context, tmp_path, "student")]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, stdout=output)
    # Before the interpreter runs our code, SIGINT kills it silently. Wait until our handler can be installed.
    wait_until_modules_are_imported(process.pid)
    time.sleep(seconds)

    interrupt(process)

    lines = log.read_text().splitlines()
    assert process.returncode == INTERRUPTED, lines
    assert lines[-1] == STOPPED
    assert "Traceback" not in log.read_text()
    assert contents(context.store.root) == before


def test_ctrl_c_that_an_extension_module_turns_into_its_own_error_is_one_line() -> None:
    # pydantic-core does so if Ctrl-C arrives while it builds a schema: too short a moment to be hit from outside.
    program = """
import os, signal
from slimseq.cli import main
def run(arguments):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt:
        raise ValueError("error in a schema") from None
main.run = run
main.main()
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr.splitlines()) == (INTERRUPTED, [STOPPED])


@pytest.mark.parametrize(
    "words",
    ["quantize translation original --name made", "remove translation original", "rename translation original made",
     "prepare"],
)  # fmt: skip
def test_a_store_on_a_read_only_disk_is_one_line(read_only_root: Path, words: str) -> None:
    before = contents(read_only_root)
    command = [sys.executable, "-m", "slimseq", *words.split(), "--store", str(read_only_root)]

    done = run_on_read_only(read_only_root, *command)

    error = done.stderr.splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert error.startswith("error: translation/")
    assert error.endswith("Read-only file system")
    assert "Traceback" not in done.stderr
    assert contents(read_only_root) == before


def test_scores_of_a_read_only_store_are_shown_and_that_they_are_not_recorded_is_an_error(
    context: Context, read_only_root: Path, tmp_path: Path
) -> None:
    add_onnx(context, TASK, "original")
    before = contents(read_only_root)
    words = ["evaluate", "translation", "original", "--data", tiny_dev(tmp_path), "--record"]

    done = run_on_read_only(read_only_root, sys.executable, "-m", "slimseq", *words, "--store", str(read_only_root))

    error = done.stderr.splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert "bleu" in done.stdout
    # The first name is the variant whose scores are lost, the second the folder that cannot be written.
    assert error.startswith("error: the scores were not recorded: translation/original: translation/original")
    assert error.endswith("Read-only file system")
    assert contents(read_only_root) == before


# A program with one more command. It sends itself Ctrl-C in the NumPy that ONNX Runtime imports while it initializes.
INTERRUPTING_PROGRAM = """
import signal
import sys
import time

from slimseq.cli import main as cli_main


def interrupt_inside_numpy(frame, event, argument):
    if frame.f_globals.get("__name__") == "numpy":
        sys.setprofile(None)
        print("interrupted", flush=True)
        signal.raise_signal(signal.SIGINT)


def command():
    sys.setprofile(interrupt_inside_numpy)
    import onnxruntime

    time.sleep(60)


if __name__ == "__main__":
    sys.modules["slimseq.cli.interrupting"] = sys.modules["__main__"]
    cli_main.VERBS["interrupt"] = ("Make variants", "interrupting:command", "Interrupts itself.")
    cli_main.main()
"""


def test_ctrl_c_while_onnxruntime_is_imported_ends_the_command() -> None:
    command = [sys.executable, "-c", INTERRUPTING_PROGRAM, "interrupt"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == INTERRUPTED, done.stderr
    assert done.stdout == "interrupted\n"
    assert done.stderr == f"{STOPPED}\n"
