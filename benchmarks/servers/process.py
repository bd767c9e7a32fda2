"""Runs a server as a process of its own, from its start until a block ends, whatever ends it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.command import BenchmarkFailed
from benchmarks.load import HOST, Client

START_SECONDS = 180.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
LINE_CHARACTERS = 300


@dataclass(frozen=True)
class Server:
    """How to start a server and how to ask it.

    Args:
        name: what results call it.
        description: what it is and how it is set, for the record.
        arguments: of the Python interpreter; the port is not among them.
        path: what generations are posted to.
        ready: what answers 200 once it can generate.
        environment: variables for it alone.
        port_variable: the variable that tells it its port; None where `--port` does.
        folder: whose code runs, such as another checkout; None for this one.
    """

    name: str
    description: str
    arguments: list[str]
    path: str
    ready: str = "/healthz"
    environment: dict[str, str] = field(default_factory=dict)
    port_variable: str | None = None
    folder: Path | None = None


@contextlib.contextmanager
def running(server: Server, folder: Path) -> Iterator[Client]:
    """Starts a server and yields a client of it once it is ready.

    Args:
        server: what to start.
        folder: where its log goes.

    Raises:
        BenchmarkFailed: it ends, or is not ready in time.
    """
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIMSEQ_")}
    environment |= server.environment | ({server.port_variable: str(port)} if server.port_variable else {})
    command = [sys.executable, *server.arguments, *([] if server.port_variable else ["--port", str(port)])]
    log = folder / f"{server.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=server.folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        client = Client(port, server.path)
        _wait_until_ready(server, process, client, log)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def last_line(log: Path) -> str:
    """Returns the last line of a log that says something, cut where it is long."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:LINE_CHARACTERS] if lines else "it wrote nothing"


def _wait_until_ready(server: Server, process: "subprocess.Popen[bytes]", client: Client, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        if client.is_ready(server.ready):
            return
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"{server.name} is not ready after {START_SECONDS:.0f} seconds: {last_line(log)}")
        time.sleep(POLL_SECONDS)
    raise BenchmarkFailed(f"{server.name} ended with {process.returncode}: {last_line(log)}")
