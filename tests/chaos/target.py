"""The service that is attacked, and how it is watched meanwhile: its probes, its event loop, and its memory."""

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.service.client import Service

# Pause between two probes of `/healthz`, and after one that failed.
PROBE_SECONDS = 0.01
FAILED_PROBE_SECONDS = 0.2
# `/readyz` is asked after so many probes of `/healthz`.
READINESS_PROBES = 5


@dataclass
class Target:
    """A running service, the folder of its store, and its log.

    Args:
        admin: headers with the key of an operator.
        outsider: headers with a key that may not generate.
    """

    service: Service
    store: Path
    log: Path
    process: psutil.Process
    admin: dict[str, str]
    outsider: dict[str, str] = field(default_factory=dict)

    @property
    def resident_bytes(self) -> int:
        """Memory of the service and of the processes that it started."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            # A process may end in between.
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def loop_seconds(self) -> float:
        """CPU time that the event loop's thread has taken (Linux: schedstats of the main thread)."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/schedstat")
        return int(path.read_text().split()[0]) / 1e9

    def footprint(self) -> "Footprint":
        """What the service holds at this moment."""
        variants = self.service.get("/memory").json["variants"]
        return Footprint(
            self.resident_bytes,
            self.process.num_fds(),
            self.process.num_threads(),
            len(self.process.children(recursive=True)),
            frozenset(f"{each['task']}/{each['variant']} on {each['runtime']}" for each in variants),
        )


@dataclass(frozen=True)
class Footprint:
    """What a service holds."""

    resident_bytes: int
    descriptors: int
    threads: int
    children: int
    variants: frozenset[str]


@dataclass
class Watch:
    """What the probes saw: how long each took, and what failed."""

    probe_seconds: list[float] = field(default_factory=list)
    # CPU time of the event loop's thread while a probe waited. Other processes on the machine do not change it.
    loop_seconds: list[float] = field(default_factory=list)
    readiness: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def longest_probe(self) -> float:
        """The longest that `/healthz` took."""
        return max(self.probe_seconds, default=0.0)


@contextlib.contextmanager
def watching(target: Target) -> Iterator[Watch]:
    """Probes `/healthz` all the time, on one connection, until the block ends."""
    watch = Watch()
    has_ended = threading.Event()

    def probe() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", target.service.port, timeout=60)
        while not has_ended.is_set():
            started = time.perf_counter()
            loop_before = target.loop_seconds()
            is_answered = True
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                # The next request opens the connection again.
                connection.close()
                is_answered = False
                watch.failures.append(f"{type(error).__name__}: {error}")
            watch.probe_seconds.append(time.perf_counter() - started)
            watch.loop_seconds.append(target.loop_seconds() - loop_before)
            if len(watch.probe_seconds) % READINESS_PROBES == 0:
                watch.readiness[_readiness(target)] += 1
            has_ended.wait(PROBE_SECONDS if is_answered else FAILED_PROBE_SECONDS)
        connection.close()

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield watch
    finally:
        has_ended.set()
        thread.join()


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs calls at once. Returns the result of each, or the exception that it raised."""
    with ThreadPoolExecutor(len(calls)) as threads:
        futures = [threads.submit(call) for call in calls]
    return [future.exception() or future.result() for future in futures]


def _readiness(target: Target) -> str:
    """Returns what `/readyz` says in a few words: `ready`, `degraded` with the variants that fail, or the error."""
    try:
        answer = target.service.get("/readyz")
    except OSError as error:
        return type(error).__name__
    if answer.status != 200:
        return f"{answer.status} {answer.json['detail']}"
    return f"{answer.json['status']} {' '.join(answer.json['degraded'])}".strip()
