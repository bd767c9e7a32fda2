"""A storm on one service: mixed requests, attacks and disturbances at once, and a table of what held.

`weather` runs a storm. First it asks all good requests of a quiet service, and sends a short storm, in which the
service reaches its size. Then clients send mixed requests (`mixed_requests.py`) while one thread attacks (`attacks.py`)
and others disturb (`disturbances.py`). At the end it compares answers with those of the quiet service, and memory,
threads and descriptors with those after the short storm.

All choices are drawn from a seed. The order in which threads take turns is not, so two runs differ.
"""

import contextlib
import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from tests.chaos.attacks import STRANGER, Attack
from tests.chaos.disturbances import Disturbances
from tests.chaos.good import ARTICLE, alone
from tests.chaos.mixed_requests import EVALUATION, MixedClient, Seen
from tests.chaos.target import Footprint, Target, Watch, together, watching

CLIENTS = 12
# Python's switch interval for the clients, a tenth of the default. Probes share an interpreter with them, and should
# wait for it less than for the service.
SWITCH_SECONDS = 0.0005
MEGABYTE = 1_000_000
# How long the service may take after the storm to be as before.
REST_SECONDS = 60
# The first storm has this part of the requests.
FIRST_STORM = 5
# Limit for memory after the storm, as a multiple of that after the first storm.
GROWTH = 1.1
# Limit for CPU time of the event loop while one probe waits. The loop may be held for 50 ms at a time, and it answers
# some other requests meanwhile.
LOOP_SECONDS = 0.25
EVALUATION_SECONDS = 600
# Longer than an idle service waits before it gives memory back.
IDLE_SECONDS = 15
# How many more threads and descriptors a service may have after the storm. It keeps some for the next burst: asyncio's
# pool grows up to 32 threads, that of the database to 4 (each with three files of SQLite), and a variant on another
# runtime has threads of its own.
SPARE_THREADS = 8
SPARE_DESCRIPTORS = 6
# Right answers of `/readyz`. While a variant of an attack fails, the service is degraded, and names the variant.
READY = {"ready", f"degraded translation/{STRANGER}"}


class Row(NamedTuple):
    """A line of the table: what was checked, what was found, and whether that is right."""

    name: str
    found: str
    is_right: bool


@dataclass(frozen=True)
class Storm:
    """What a storm consists of.

    Args:
        requests: number of mixed requests.
        seed: seed of all random choices.
        attacks: the attacks, one after the other and over again until the requests end.
        pause_seconds: mean time between two of the most frequent disturbances.
        stall_seconds: maximum time of a probe of `/healthz`. None on a machine that others use too. Then only the CPU
            time is limited that the event loop takes while a probe waits.
    """

    requests: int
    seed: int
    attacks: Sequence[Attack]
    pause_seconds: float
    stall_seconds: float | None


def weather(target: Target, storm: Storm, say: Callable[[str], None]) -> list[Row]:
    """Sends a storm to a service, and returns the table. `target.service` has the key of usual clients.

    `say` prints a line of progress.
    """
    say(f"seed {storm.seed}")
    sys.setswitchinterval(SWITCH_SECONDS)
    expected = alone(target.service)
    quiet_evaluation = _ended_evaluation(target, target.service.post("/evaluations", EVALUATION).json["id"])
    _warm_up(target)
    # A service reaches its size in the first minute of a storm: buffers of the largest batch, caches, the panics of a
    # library. What a longer storm adds to that is a leak.
    first = _rage(target, replace(storm, requests=storm.requests // FIRST_STORM), expected, say)
    for identifier in first.seen.evaluations:
        _ended_evaluation(target, identifier)
    first.disturbances.unload_all()
    expected_again = alone(target.service)
    # Both footprints are those of a service that has rested. Otherwise freed memory that is not yet given back would
    # count for the first one, and hide a leak.
    time.sleep(IDLE_SECONDS)
    before = target.footprint()

    started = time.monotonic()
    raged = _rage(target, storm, expected, say)
    seen, disturbances, watch = raged.seen, raged.disturbances, raged.watch
    seen.complaints += first.seen.complaints
    disturbances.complaints += first.disturbances.complaints
    successes = [*first.successes, *raged.successes]
    attacked = raged.attacked
    say(f"{storm.requests} requests took {time.monotonic() - started:.0f} s")

    evaluations = [_ended_evaluation(target, identifier) for identifier in seen.evaluations]
    disturbances.unload_all()
    after = _footprint_after_rest(target, before)
    # `content` gives a string for an answer that is a refusal.
    refusals = [each for each in expected.values() if isinstance(each, str)]
    return [
        Row("quiet answers", f"{len(expected)}, asked twice", expected == expected_again and not refusals),
        *_answers(seen),
        *(Row(name, f"{count} times", True) for name, count in sorted((disturbances.made + attacked).items())),
        Row("attacks", "; ".join(successes[:3]) or "refused", not successes),
        Row("disturbances", "; ".join(disturbances.complaints[:3]) or "as expected", not disturbances.complaints),
        _evaluations(evaluations, quiet_evaluation, disturbances.made["evaluations killed"]),
        *_stalls(watch, storm.stall_seconds),
        Row("/readyz", _counted(watch.readiness), watch.readiness.keys() <= READY and "ready" in watch.readiness),
        *_leaks(before, after),
    ]


class Raged(NamedTuple):
    """What was seen of one storm, and what it made."""

    seen: Seen
    disturbances: Disturbances
    watch: Watch
    attacked: Counter[str]
    """How often each attack was made."""
    successes: list[str]
    """Attacks that succeeded."""


def _rage(target: Target, storm: Storm, expected: dict[int, Any], say: Callable[[str], None]) -> Raged:
    """Sends the requests of a storm, while attacks and disturbances go on."""
    seen = Seen()
    disturbances = Disturbances(target, target.log.with_name("state"), storm.seed, storm.pause_seconds)
    attacks = random.Random(storm.seed).sample(storm.attacks, len(storm.attacks))
    with watching(target) as watch, disturbances, _attacks(target, attacks) as (attacked, successes):
        _send_all(target, storm, expected, seen, disturbances, say)
    return Raged(seen, disturbances, watch, attacked, successes)


def _send_all(
    target: Target,
    storm: Storm,
    expected: dict[int, Any],
    seen: Seen,
    disturbances: Disturbances,
    say: Callable[[str], None],
) -> None:
    """Sends all mixed requests of a storm, with so many clients at once. `seen` collects what they see."""

    def send(number: int) -> None:
        client = MixedClient(target.service, expected, seen, disturbances, target.outsider, storm.seed + number)
        for sent in range(storm.requests // CLIENTS):
            # The first client reports for all of them, which are about as far.
            if number == 0 and sent % 100 == 0:
                say(f"{sent * CLIENTS} requests, {len(seen.complaints)} complaints")
            client.send()
        client.close()

    results = together([partial(send, number) for number in range(CLIENTS)])
    errors = [result for result in results if result is not None]
    seen.complaints += [f"a client ended: {type(error).__name__}: {error}" for error in errors]


@contextlib.contextmanager
def _attacks(target: Target, attacks: Sequence[Attack]) -> Iterator[tuple[Counter[str], list[str]]]:
    """Makes attacks in turns until the block ends. Yields how often each was made, and the attacks that succeeded."""
    made: Counter[str] = Counter()
    successes: list[str] = []
    has_ended = threading.Event()

    def attack_in_turns() -> None:
        for attack in itertools.cycle(attacks):
            if has_ended.is_set():
                return
            # The service may refuse the connection of an attack.
            with contextlib.suppress(OSError):
                successes.extend(attack(target))
            made[f"attack: {attack.__name__.replace('_', ' ')}"] += 1

    thread = threading.Thread(target=attack_in_turns, name="attacks")
    thread.start()
    try:
        yield made, successes
    finally:
        has_ended.set()
        thread.join()


def _warm_up(target: Target) -> None:
    """Loads what the storm loads, with as many clients and as long texts, and unloads what comes and goes."""
    texts = {"text": [ARTICLE * 6] * 16}
    together([*[lambda: alone(target.service)] * 3, *[lambda: target.service.post("/summarize", texts)] * 2])
    together([lambda: target.service.get("/evaluations")] * CLIENTS)
    disturbances = Disturbances(target, target.log.with_name("state"), seed=0, pause_seconds=1)
    disturbances.load_all()
    disturbances.unload_all()


def _ended_evaluation(target: Target, identifier: str) -> dict[str, Any]:
    """Returns an evaluation once it has ended, or as it is when the time is over."""
    deadline = time.monotonic() + EVALUATION_SECONDS
    while True:
        job: dict[str, Any] = target.service.get(f"/evaluations/{identifier}").json
        if job["status"] not in ("queued", "running") or time.monotonic() > deadline:
            return job
        time.sleep(0.5)


def _footprint_after_rest(target: Target, before: Footprint) -> Footprint:
    """Returns the footprint once it is as before, or as it is when the time is over."""
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
    """Each evaluation that ended has the results of the quiet service, or failed because its process was killed."""
    same = [job for job in ended if job["status"] == "succeeded" and _metrics(job) == _metrics(quiet)]
    failed = [job for job in ended if job["status"] == "failed" and "killed" in job["error"]["detail"]]
    found = f"{len(same)} as in quiet, {len(failed)} failed, {killed} killed, of {len(ended)}"
    are_all_explained = len(same) + len(failed) == len(ended) and len(failed) <= killed
    return Row("evaluations", found, quiet["status"] == "succeeded" and are_all_explained)


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
    """Compares what the service holds after the storm with what it held before."""

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
