"""The whole under chaos: mixed requests, attacks and disturbances at once, and a table of what held.

Everything is drawn from a seed, but for the order in which threads of the clients and the service take turns.
"""

import contextlib
import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from tests.chaos.attacks import STRANGER, Attack
from tests.chaos.disturbances import Disturbances
from tests.chaos.good import ARTICLE, alone
from tests.chaos.mixed_requests import EVALUATION, MixedClient, Seen
from tests.chaos.target import Footprint, Target, Watch, together, watching

CLIENTS = 12
SWITCH_SECONDS = 0.0005
MEGABYTE = 1_000_000
# After which the service is as before.
REST_SECONDS = 60
GROWTH = 1.1
# The event loop may be held for 50 ms; while one probe waits, it answers other requests as well.
LOOP_SECONDS = 0.25
EVALUATION_SECONDS = 600
# Threads and connections that a service keeps for the next burst: asyncio's pool of threads grows up to 32, that of the
# database to 4, each with three files of SQLite; a variant on another runtime has threads of its own.
SPARE_THREADS = 8
SPARE_DESCRIPTORS = 6


# What `/readyz` says: while a variant of an attack fails, it is named.
READY = {"ready", f"degraded translation/{STRANGER}"}


class Row(NamedTuple):
    """A line of the table: what was looked at, what was found, and whether that is right."""

    name: str
    found: str
    is_right: bool


@dataclass(frozen=True)
class Storm:
    """How much of everything.

    Args:
        requests: number of mixed requests.
        seed: of all random numbers.
        attacks: made in turns meanwhile.
        pause_seconds: mean time between two of the most frequent disturbances.
        stall_seconds: maximum time of a probe of `/healthz`. None if others use the machine: what is limited then is
            the CPU time that the event loop takes meanwhile.
    """

    requests: int
    seed: int
    attacks: Sequence[Attack]
    pause_seconds: float
    stall_seconds: float | None


def weather(target: Target, storm: Storm, say: Callable[[str], None]) -> list[Row]:
    """Sends a storm to a service, and returns the table. `target.service` has the key of usual clients."""
    say(f"seed {storm.seed}")
    # The probes share an interpreter with the clients, and should wait for it less than for the service.
    sys.setswitchinterval(SWITCH_SECONDS)
    expected = alone(target.service)
    quiet = _evaluated(target, target.service.post("/evaluations", EVALUATION).json["id"])
    disturbances = Disturbances(target, target.log.with_name("state"), storm.seed, storm.pause_seconds)
    _warm_up(target, disturbances)
    expected_again = alone(target.service)
    before = target.footprint()
    seen = Seen()
    started = time.monotonic()
    attacks = random.Random(storm.seed).sample(storm.attacks, len(storm.attacks))
    with watching(target) as watch, disturbances, _attacks(target, attacks) as (attacked, successes):
        _send_all(target, storm, expected, seen, disturbances, say)
    say(f"{storm.requests} requests took {time.monotonic() - started:.0f} s")
    ended = [_evaluated(target, identifier) for identifier in seen.evaluations]
    disturbances.unload_all()
    after = _rested(target, before)
    refusals = [each for each in expected.values() if isinstance(each, str)]
    return [
        Row("quiet answers", f"{len(expected)}, asked twice", expected == expected_again and not refusals),
        *_answers(seen),
        *(Row(name, f"{count} times", True) for name, count in sorted((disturbances.made + attacked).items())),
        Row("attacks", "; ".join(successes[:3]) or "refused", not successes),
        Row("disturbances", "; ".join(disturbances.complaints[:3]) or "as expected", not disturbances.complaints),
        _evaluations(ended, quiet, disturbances.made["evaluations killed"]),
        *_stalls(watch, storm.stall_seconds),
        Row("/readyz", _counted(watch.readiness), watch.readiness.keys() <= READY and "ready" in watch.readiness),
        *_leaks(before, after),
    ]


def _send_all(
    target: Target,
    storm: Storm,
    expected: dict[int, Any],
    seen: Seen,
    disturbances: Disturbances,
    say: Callable[[str], None],
) -> None:
    def send(number: int) -> None:
        client = MixedClient(target.service, expected, seen, disturbances, target.outsider, storm.seed + number)
        for sent in range(storm.requests // CLIENTS):
            if number == 0 and sent % 100 == 0:
                say(f"{sent * CLIENTS} requests, {len(seen.complaints)} complaints")
            client.send()
        client.close()

    failed = [each for each in together([partial(send, number) for number in range(CLIENTS)]) if each is not None]
    seen.complaints += [f"a client ended: {type(each).__name__}: {each}" for each in failed]


@contextlib.contextmanager
def _attacks(target: Target, attacks: Sequence[Attack]) -> Iterator[tuple[Counter[str], list[str]]]:
    """Makes attacks in turns until the block ends, and yields how often each was made, and what they say."""
    made: Counter[str] = Counter()
    successes: list[str] = []
    has_ended = threading.Event()

    def attack() -> None:
        for each in itertools.cycle(attacks):
            if has_ended.is_set():
                return
            with contextlib.suppress(OSError):
                successes.extend(each(target))
            made[f"attack: {each.__name__.replace('_', ' ')}"] += 1

    thread = threading.Thread(target=attack, name="attacks")
    thread.start()
    try:
        yield made, successes
    finally:
        has_ended.set()
        thread.join()


def _warm_up(target: Target, disturbances: Disturbances) -> None:
    """Loads what the storm loads, with as many clients and as long texts, and unloads what comes and goes."""
    texts = {"text": [ARTICLE * 6] * 16}
    together([*[lambda: alone(target.service)] * 3, *[lambda: target.service.post("/summarize", texts)] * 2])
    together([lambda: target.service.get("/evaluations")] * CLIENTS)
    disturbances.load_all()
    disturbances.unload_all()
    # Longer than the service waits before it gives memory back.
    time.sleep(15)


def _evaluated(target: Target, identifier: str) -> dict[str, Any]:
    deadline = time.monotonic() + EVALUATION_SECONDS
    while (job := target.service.get(f"/evaluations/{identifier}").json)["status"] in ("queued", "running"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return dict(job)


def _rested(target: Target, before: Footprint) -> Footprint:
    """Returns the footprint once it is as before, at the latest after a minute."""
    deadline = time.monotonic() + REST_SECONDS
    while True:
        after = target.footprint()
        if all(row.is_right for row in _leaks(before, after)) or time.monotonic() > deadline:
            return after
        time.sleep(1)


def _answers(seen: Seen) -> list[Row]:
    complaints = "; ".join(seen.complaints[:3]) or "none"
    return [Row("requests", _counted(seen.asked), True), Row("wrong answers", complaints, not seen.complaints)]


def _counted(counts: Counter[Any]) -> str:
    return ", ".join(f"{count} times {each}" for each, count in sorted(counts.items())) or "none"


def _evaluations(ended: Sequence[dict[str, Any]], quiet: dict[str, Any], killed: int) -> Row:
    """An evaluation has the results of a quiet service, or its process was killed."""
    same = [job for job in ended if job["status"] == "succeeded" and _metrics(job) == _metrics(quiet)]
    failed = [job for job in ended if job["status"] == "failed" and "killed" in job["error"]["detail"]]
    found = f"{len(same)} as in quiet, {len(failed)} failed, {killed} killed, of {len(ended)}"
    is_right = quiet["status"] == "succeeded" and len(same) + len(failed) == len(ended) and len(failed) <= killed
    return Row("evaluations", found, is_right)


def _metrics(job: dict[str, Any]) -> list[Any]:
    return [result["metrics"] for result in job["results"]]


def _stalls(watch: Watch, stall_seconds: float | None) -> list[Row]:
    longest = f"{watch.longest_probe * 1000:.0f} ms of {len(watch.probe_seconds)} probes"
    busiest = max(watch.loop_seconds)
    return [
        Row("longest /healthz", longest, stall_seconds is None or watch.longest_probe <= stall_seconds),
        Row("longest, in CPU time of the event loop", f"{busiest * 1000:.0f} ms", busiest <= LOOP_SECONDS),
        Row("/healthz without an answer", "; ".join(watch.failures[:3]) or "none", not watch.failures),
    ]


def _leaks(before: Footprint, after: Footprint) -> list[Row]:
    def row(name: str, first: int, last: int, most: float) -> Row:
        return Row(name, f"{first}, then {last}", last <= most)

    memory = f"{before.resident_bytes / MEGABYTE:.0f} MB, then {after.resident_bytes / MEGABYTE:.0f} MB"
    return [
        Row("memory after a rest", memory, after.resident_bytes <= before.resident_bytes * GROWTH),
        row("descriptors", before.descriptors, after.descriptors, before.descriptors + SPARE_DESCRIPTORS),
        row("threads", before.threads, after.threads, before.threads + SPARE_THREADS),
        row("child processes", before.children, after.children, before.children),
        Row("variants in memory", ", ".join(sorted(after.variants)), after.variants == before.variants),
    ]
