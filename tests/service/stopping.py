"""Starts a service that a test stops."""

import contextlib
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from slimseq.models_store.store import Store
from tests.forking import Forked, start
from tests.service.client import Response, Service
from tests.service.conftest import environment_with, free_port

GRACE_SECONDS = 2
SENTENCE = "The old man walks along the river and looks at the birds. "
QUICK = {"text": "Good morning."}
LONG = {"text": [SENTENCE * 40] * 64, "num_beams": 16}
MILLION = {"text": "á" * 500_000}
DOCUMENT = {"text": SENTENCE * 17_000, "long_input": "map_reduce", "num_beams": 16}
PAIRS = [{"source": SENTENCE * 100, "target": "Wort " * 1200}] * 20


class Stopping:
    """A service that a test stops, and what its clients got."""

    def __init__(self, process: Forked, service: Service) -> None:
        self.process = process
        self.service = service
        self.threads = ThreadPoolExecutor(16)

    def ask(self, path: str, body: object) -> "Future[Response]":
        return self.threads.submit(self.service.post, path, body)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Sends the signal; returns how many seconds the process lived on."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        return time.monotonic() - started


@contextlib.contextmanager
def stopping(store: Store, log: Path, **settings: object) -> Iterator[Stopping]:
    port = free_port()
    chosen = {"port": port, "store": store.root, "shutdown_grace_seconds": GRACE_SECONDS, **settings}
    process = start(["slimseq.app"], environment_with(**chosen), log, log)
    started = Stopping(process, Service(port))
    try:
        started.service.wait_until_answering(process)
        started.service.wait_until_ready()
        yield started
    finally:
        process.kill()
        process.wait()
        started.threads.shutdown()


def ends_cleanly(running: Stopping, seconds: float, grace: float = GRACE_SECONDS) -> None:
    assert running.process.returncode == 0
    assert seconds <= grace + 1
