"""Starts a service that a test stops."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.service.client import Response, Service
from tests.service.conftest import running_service

GRACE_SECONDS = 2
SENTENCE = "The old man walks along the river and looks at the birds. "
# Texts differ, for equal ones are generated once; each takes its many tokens on a fast machine too.
LONG = {"text": [f"{number} {SENTENCE * 40}" for number in range(64)], "num_beams": 4, "min_new_tokens": 100}
DOCUMENT = {"text": SENTENCE * 17_000, "long_input": "map_reduce", "num_beams": 16}
THREADS = ThreadPoolExecutor(32)


def ask(service: Service, path: str, body: object) -> "Future[Response]":
    return THREADS.submit(service.post, path, body)


@contextlib.contextmanager
def stopping(log: Path, **settings: Any) -> Iterator[Service]:
    chosen: dict[str, Any] = {"shutdown_grace_seconds": GRACE_SECONDS, **settings}
    with running_service(log, **chosen) as service:
        try:
            yield service
        finally:
            service.process.kill()


def ends_cleanly(service: Service, seconds: float, grace: float = GRACE_SECONDS) -> None:
    assert service.process.poll() == 0
    assert seconds <= grace + 1
