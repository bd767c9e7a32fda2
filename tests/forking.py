"""Starts commands as copies of a process that has imported their libraries, which takes most of a start's time.

Each is a process of its own and runs a module as `python -m MODULE` does. Tests of the start itself, or of another
environment, take `subprocess`.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# For the imports of the process that is copied, on cores that are busy with other tests.
START_SECONDS = 240


class Forked:
    """A started process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.pid = 0
        self.returncode: int | None = None
        self.began, self.ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.words, timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            # As `Popen` does: it may have ended just now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that the others are copies of. It starts with the first of them.

    Args:
        modules: what it imports.
        frees_memory: whether a process that returns or raises SystemExit takes the interpreter apart at its end, as
            others do. With PyTorch that takes half a second.
    """

    def __init__(self, *modules: str, frees_memory: bool = True) -> None:
        self._modules = modules
        self._frees_memory = frees_memory
        self._processes: dict[int, Forked] = {}
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        out: Path,
        error: Path,
        folder: Path | None = None,
        greatest_file: int | None = None,
    ) -> Forked:
        """Starts `python -m` with these words.

        Args:
            words: the module and its arguments.
            environment: its variables.
            out: the file that its output is added to.
            error: the file for standard error, which may be the same one.
            folder: where it runs; None for where this process does.
            greatest_file: bytes that no file can have more of; None sets no limit.
        """
        process = Forked(words)
        request = {
            "words": list(words),
            "environment": dict(environment),
            "files": [str(out), str(error)],
            "folder": str(folder or Path.cwd()),
            "greatest_file": greatest_file,
            "frees_memory": self._frees_memory,
        }
        with self._lock:
            server = self._socket or self._started()
            request["number"] = len(self._processes)
            self._processes[len(self._processes)] = process
            server.sendall(json.dumps(request).encode() + b"\n")
            # Requests come one at a time: the next one after the answer to this one.
            if not process.began.wait(START_SECONDS):
                raise RuntimeError(f"the process that starts {' '.join(words)} does not answer")
        return process

    def _started(self) -> socket.socket:
        self._socket, other = socket.socketpair()
        command = [sys.executable, "-m", "tests.forking", str(other.fileno()), *self._modules]
        server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()])
        other.close()
        threading.Thread(target=self._read, args=(self._socket,), daemon=True).start()
        atexit.register(self._end, server, self._socket)
        return self._socket

    def _read(self, server: socket.socket) -> None:
        with server.makefile("r", encoding="utf-8") as lines:
            for number, pid, code in map(json.loads, lines):
                process = self._processes[number]
                process.pid, process.returncode = pid, code
                process.began.set()
                if code is not None:
                    process.ended.set()

    @staticmethod
    def _end(server: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RDWR)
        server.wait(10)


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Copies this process for each request. Returns the request in a copy, and None in this process at its end."""
    numbers: dict[int, int] = {}
    woken, waking = socket.socketpair()
    waking.setblocking(False)
    signal.set_wakeup_fd(waking.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    lines = connection.makefile("r", encoding="utf-8")

    def tell(*values: int | None) -> None:
        connection.sendall(json.dumps(values).encode() + b"\n")

    with selectors.DefaultSelector() as selector:
        for each in (connection, woken):
            selector.register(each, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if connection in ready:
                line = lines.readline()
                if not line:
                    return None
                request: dict[str, Any] = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    break
                numbers[pid] = request["number"]
                tell(request["number"], pid, None)
            if woken in ready:
                woken.recv(1024)
                while numbers and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    tell(numbers.pop(ended[0]), ended[0], os.waitstatus_to_exitcode(ended[1]))
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    lines.close()
    for each in (connection, woken, waking):
        each.close()
    return request


def main() -> None:
    """Runs in the process that is copied, and in each copy to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    for module in sys.argv[2:]:
        # A serving install has no PyTorch.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.freeze()
    request = _serve(connection)
    if request is None:
        return
    for file, stream in zip(request["files"], (sys.stdout, sys.stderr), strict=True):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    if request["greatest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["greatest_file"],) * 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = list(request["words"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        runpy.run_module(request["words"][0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        if request["frees_memory"] or not isinstance(ended.code, int):
            raise
        code = ended.code
    if not request["frees_memory"]:
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.current_thread():
                thread.join()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
