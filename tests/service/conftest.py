"""Starts the real service in a process of its own, on a free port, with the embedded models."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.service.client import Service

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="a serving install has no PyTorch")


@contextlib.contextmanager
def running_service(
    log: Path,
    *,
    python: Path | str = sys.executable,
    folder: Path | None = None,
    prefix: Sequence[str] = (),
    **settings: object,
) -> Iterator[Service]:
    """Runs `slimseq serve` with `SLIMSEQ_*` settings until the block ends.

    The database is beside the log, so that a service that starts again finds its evaluations.
    `python` may be another environment's interpreter, started in a `folder` that has none of this checkout's code.
    `prefix` is a command that runs another in its own place.
    """
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIMSEQ_")}
    database = f"sqlite:///{log.with_suffix('.db')}"
    settings = {"port": port, "store": embedded_store(), "database_url": database, **settings}
    environment |= {f"SLIMSEQ_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*prefix, python, "-m", "slimseq.app"], env=environment, cwd=folder, stdout=output, stderr=output
        )
    service = Service(port, process.pid)
    try:
        service.wait_until_answering(process)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def service(embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service") / "log", store=embedded.root) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def store(own_store: Store) -> Path:
    """A copy of the embedded store that a test may damage."""
    return own_store.root
