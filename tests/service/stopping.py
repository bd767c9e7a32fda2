"""What tests of SIGTERM and SIGINT share: a service to stop, and requests that take longer than its grace."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.service.client import Response, Service
from tests.service.conftest import running_service

GRACE_SECONDS = 2
SENTENCE = "The old man walks along the river and looks at the birds. "
# A request of some seconds, on a fast machine too: 64 texts of at least 100 tokens each. They differ, because equal
# texts are generated once.
LONG = {"text": [f"{number} {SENTENCE * 40}" for number in range(64)], "num_beams": 4, "min_new_tokens": 100}
# A text of a million characters, which takes seconds to split into parts.
DOCUMENT = {"text": SENTENCE * 17_000, "long_input": "map_reduce", "num_beams": 16}
THREADS = ThreadPoolExecutor(32)


def ask(service: Service, path: str, body: object) -> "Future[Response]":
    """Posts on another thread. The result is the answer."""
    return THREADS.submit(service.post, path, body)


@contextlib.contextmanager
def stopping(log: Path, **settings: Any) -> Iterator[Service]:
    """Runs a service with a short grace. Kills it at the end of the block, if the test has not stopped it."""
    chosen: dict[str, Any] = {"shutdown_grace_seconds": GRACE_SECONDS, **settings}
    with running_service(log, **chosen) as service:
        try:
            yield service
        finally:
            service.process.kill()


def ends_cleanly(service: Service, seconds: float, grace: float = GRACE_SECONDS) -> None:
    """Asserts that the service ended with exit code 0, within its grace and a second more."""
    assert service.process.poll() == 0
    assert seconds <= grace + 1
