"""Starts commands fast: each is a fork of one process that has imported their libraries already.

To import the libraries takes most of a command's start. Each fork is a process of its own, and runs a module as
`python -m MODULE` does. Tests of the start itself, or of another environment, use `subprocess` instead.
"""

import importlib
import logging
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FORKSERVER = multiprocessing.get_context("forkserver")
# The fork server skips what cannot be imported. A serving install has no PyTorch.
FORKSERVER.set_forkserver_preload(
    [
        "slimseq.app.main",
        "slimseq.app.observability.logs",
        "slimseq.app.http.server",
        "slimseq.cli.main",
        "onnxruntime",
        "torch",
        "slimseq.compression.train_base",
        "transformers.models.bart.modeling_bart",
        "transformers.models.t5.modeling_t5",
    ]
)


class Forked:
    """A started process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, words: Sequence[str], *arguments: object) -> None:
        self.words = words
        self._process = FORKSERVER.Process(target=_run, args=(words, *arguments))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.words, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    words: Sequence[str],
    environment: Mapping[str, str],
    out: Path,
    error: Path,
    folder: Path | None = None,
    greatest_file: int | None = None,
) -> Forked:
    """Starts `python -m` with these words.

    Args:
        out: what the process prints is appended to this file.
        error: what it prints to stderr is appended to this file, which may be the same one.
        folder: the working directory, by default the tests' own.
        greatest_file: maximum bytes of a file that it writes, as if the disk were full then.
    """
    return Forked(words, dict(environment), out, error, folder or Path.cwd(), greatest_file)


def _run(
    words: Sequence[str], environment: dict[str, str], out: Path, error: Path, folder: Path, greatest_file: int | None
) -> None:
    """Makes the forked process what a new one would be, and runs the module."""
    for file, stream in ((out, sys.stdout), (error, sys.stderr)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    if greatest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (greatest_file, greatest_file))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # huggingface_hub reads `HF_*` variables when it is imported. transformers has imported it before the fork.
    hub = sys.modules.get("huggingface_hub.constants")
    if hub:
        importlib.reload(hub)
    sys.argv = list(words)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        # A process of multiprocessing ends without the functions of `atexit`, which would do this.
        logging.shutdown()
