"""Starts the real service in a process of its own, on a free port, with the embedded models."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.forking import Forked, start
from tests.places import ONE_TRANSLATOR
from tests.service.client import Service

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="a serving install has no PyTorch")


@contextlib.contextmanager
def running_service(
    log: Path,
    *,
    python: Path | str | None = None,
    folder: Path | None = None,
    prefix: Sequence[str] = (),
    waits: bool = True,
    **settings: object,
) -> Iterator[Service]:
    """Runs the service with `SLIMSEQ_*` settings until the block ends.

    Args:
        log: a file for the log. The database is beside it, so that a service that starts again finds its evaluations.
        python: another environment's interpreter.
        folder: the working directory. For another environment, one that has none of this checkout's code.
        prefix: a command before that of the service, such as `prlimit`, which becomes the service (`exec`).
        waits: whether the block begins once the service is ready, or as soon as it answers `/healthz`.
    """
    port = free_port()
    database = f"sqlite:///{log.with_suffix('.db')}"
    settings = {"port": port, "store": ONE_TRANSLATOR, "database_url": database, **settings}
    process = _start(environment_with(**settings), log, python, folder, prefix)
    service = Service(port, process)
    try:
        service.wait_until_answering()
        if waits:
            service.wait_until_ready()
        yield service
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _start(
    environment: dict[str, str], log: Path, python: Path | str | None, folder: Path | None, prefix: Sequence[str]
) -> "Forked | subprocess.Popen[bytes]":
    """Starts the service: as a fork, which is faster, where the interpreter is that of the tests."""
    if python is None and not prefix:
        return start(["slimseq.app"], environment, log, log, folder)
    command = [*prefix, python or sys.executable, "-m", "slimseq.app"]
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=output)


def ended_start(**settings: object) -> "subprocess.CompletedProcess[str]":
    """Starts the service with settings that it refuses. Returns its exit code and what it printed."""
    with tempfile.TemporaryDirectory() as output_folder:
        out, error = Path(output_folder, "out"), Path(output_folder, "error")
        process = start(["slimseq.app"], environment_with(**settings), out, error)
        try:
            code = process.wait(60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.words, code, out.read_text(), error.read_text())


def environment_with(**settings: object) -> dict[str, str]:
    """Returns the variables of this process, with these settings as `SLIMSEQ_*` and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("SLIMSEQ_")}
    return others | {f"SLIMSEQ_{name.upper()}": str(value) for name, value in settings.items()}


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session", autouse=True)
def prepared(embedded: Store) -> None:
    """Makes the variants that derive from the embedded models. Services that name no other store serve them."""


@pytest.fixture(scope="session")
def service(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the tests of all modules, with the embedded models except the translator to Portuguese."""
    with running_service(tmp_path_factory.mktemp("service") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def goes_on(service: Service) -> Iterator[None]:
    """Checks after the tests of a module that the service still answers."""
    yield
    assert service.post("/translate", {"text": "Good morning."}).status == 200


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def store(own_store: Store) -> Path:
    """A copy of the embedded store that a test may damage."""
    return own_store.root
