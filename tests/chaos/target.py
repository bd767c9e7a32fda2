"""The service that is attacked, and what is watched of it meanwhile: its probe's longest wait, and its memory."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.service.client import Service

PROBE_SECONDS = 0.01


@dataclass
class Target:
    """A running service, the folder of its store, and its log."""

    service: Service
    store: Path
    log: Path
    process: psutil.Process
    admin: dict[str, str]

    @property
    def resident_bytes(self) -> int:
        """Memory of the service and of what it started."""
        found = 0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found += process.memory_info().rss
        return found

    def cpu_seconds(self, seconds: float) -> float:
        """CPU time that the service and what it started take in so many seconds."""

        def taken() -> float:
            found = 0.0
            for process in (self.process, *self.process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    found += sum(process.cpu_times()[:2])
            return found

        before = taken()
        time.sleep(seconds)
        return taken() - before


@dataclass
class Watch:
    """What was seen while something ran."""

    probe_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def longest_probe(self) -> float:
        """The longest that `/healthz` took."""
        return max(self.probe_seconds, default=0.0)


@contextlib.contextmanager
def watching(target: Target) -> Iterator[Watch]:
    """Asks `/healthz` all the time on one connection, and looks at the memory, until the block ends."""
    watch, has_ended = Watch(), threading.Event()

    def probe() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", target.service.port, timeout=60)
        while not has_ended.is_set():
            started = time.perf_counter()
            try:
                connection.request("GET", "/healthz")
                status = connection.getresponse().read() and 200
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                status = 0
                watch.failures.append(f"{type(error).__name__}: {error}")
            watch.probe_seconds.append(time.perf_counter() - started)
            watch.peak_bytes = max(watch.peak_bytes, target.resident_bytes)
            has_ended.wait(PROBE_SECONDS if status else 0.2)
        connection.close()

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield watch
    finally:
        has_ended.set()
        thread.join()
