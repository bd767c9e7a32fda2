"""`python -m benchmarks.beside_evaluation`: the latency of live requests with and without an evaluation that runs.

Both are measured in turns, seconds apart, and compared turn by turn, because a machine's speed drifts. The evaluation
compares the variant with its original on the bundled sample, again and again, and is deleted after each turn.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.client import Client
from benchmarks.command_line import end_on_termination, wide_console, write_json
from benchmarks.connection import Answer
from benchmarks.figures import number
from benchmarks.servers.contenders import ORIGINAL, ROUTES
from benchmarks.servers.process import Server, ServerFailed, running
from benchmarks.taken import Taken
from benchmarks.workload import Lengths, workload
from slimseq.app.http.schemas.evaluation import PAIR_KEYS
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.examples import Example
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

PAIRS = 1000
START_SECONDS = 120.0
POLL_SECONDS = 0.1
WIDTH = 80


@dataclass(frozen=True)
class Turn:
    """95th percentiles of live requests within seconds of each other."""

    alone_p95_ms: float
    beside_p95_ms: float


@dataclass(kw_only=True)
class BesideEvaluation(Taken):
    """All turns, of so many clients that wait for their answers."""

    artifact: str
    clients: int
    turns: list[Turn] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The 95th percentile beside an evaluation by that without one, the median turn's."""
        return median(turn.beside_p95_ms / turn.alone_p95_ms for turn in self.turns)

    def as_json(self) -> str:
        """Returns all of it."""
        return json.dumps({**asdict(self), "ratio": self.ratio}, indent=2) + "\n"


def beside_evaluation(
    store: Store, task: Task, variant: str, clients: int, seconds: float, turns: int, folder: Path
) -> BesideEvaluation:
    """Runs the service and measures it in turns.

    Args:
        store: holds the variant and its original.
        task: the variant's.
        variant: answers the requests, and is evaluated.
        clients: how many wait for their answers at a time.
        seconds: length of each window.
        turns: how often both are measured.
        folder: where the service's log goes.

    Raises:
        ServerFailed: the service does not start, does not answer, or has ended the evaluation too early.
        UnknownVariant, InvalidArtifact: as `Store.manifest` does.
    """
    server = Server(
        name="slimseq",
        description="",
        arguments=["-m", "slimseq.app"],
        path=f"{ROUTES[task]}?variant={variant}",
        ready="/readyz",
        environment={
            "SLIMSEQ_STORE": str(store.root),
            "SLIMSEQ_PRELOAD": f"{task}/{variant}",
            "SLIMSEQ_LOG_LEVEL": "warning",
        },
        port_variable="SLIMSEQ_PORT",
    )
    examples = load_examples(task, "sample").examples
    asks = workload(store.manifest(task, variant), examples, Lengths())
    body = _evaluation(task, list(dict.fromkeys([ORIGINAL, variant])), examples)
    found = BesideEvaluation(artifact=f"{task}/{variant}", clients=clients)
    with running(server, folder) as port:
        client = Client(port, server.path)

        def p95_ms() -> float:
            measured = client.closed(asks, clients, seconds)
            if measured.p95_ms is None or measured.errors:
                raise ServerFailed(f"{measured.errors} requests failed: {measured.first_error}")
            return measured.p95_ms

        for _ in range(turns):
            alone = p95_ms()
            with _evaluated(client, body):
                found.turns.append(Turn(alone, p95_ms()))
    return found


@contextmanager
def _evaluated(client: Client, body: bytes) -> Iterator[None]:
    """Has an evaluation run while the block does."""
    posted = _checked(client.run(lambda connections: connections.post("/evaluations", body)))
    path = f"/evaluations/{posted['id']}"

    def status() -> Any:
        return _checked(client.run(lambda connections: connections.get(path)))

    deadline = time.monotonic() + START_SECONDS
    while (job := status())["status"] in ("queued", "running") and not job["progress"]:
        if time.monotonic() > deadline:
            raise ServerFailed(f"the evaluation has not begun after {START_SECONDS:.0f} seconds")
        time.sleep(POLL_SECONDS)
    yield
    if (job := status())["status"] != "running":
        raise ServerFailed(f"the evaluation ended too early, as {job['status']}: {job['error']}")
    _checked(client.run(lambda connections: connections.delete(path)))


def _checked(answer: Answer) -> Any:
    if answer.status >= 400:
        raise ServerFailed(answer.json.get("detail", str(answer.status)))
    return answer.json


def _evaluation(task: Task, variants: Sequence[str], examples: Sequence[Example]) -> bytes:
    keys = PAIR_KEYS[task]
    pairs = [dict(zip(keys, (each.source, each.target), strict=True)) for each in examples]
    many = (pairs * (PAIRS // len(pairs) + 1))[:PAIRS]
    return json.dumps({"task": task, "variants": variants, "pairs": many}).encode()


def _named(text: str) -> tuple[Task, str]:
    task, _, variant = text.partition("/")
    return Task(task), variant


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside_evaluation", description=__doc__)
    default = "translation/quantized"
    parser.add_argument("variant", nargs="?", type=_named, default=default, metavar="TASK/VARIANT", help=default)
    parser.add_argument("--clients", type=int, default=4, help="that wait for their answers at a time")
    parser.add_argument("--seconds", type=float, default=10, help="length of a window")
    parser.add_argument("--turns", type=int, default=5, help="how often both are measured")
    parser.add_argument("--store", type=Path, default=embedded_store())
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    end_on_termination()
    task, variant = given.variant
    with tempfile.TemporaryDirectory(prefix="slimseq-beside-evaluation-") as folder:
        try:
            found = beside_evaluation(
                Store(given.store), task, variant, given.clients, given.seconds, given.turns, Path(folder)
            )
        except (ServerFailed, SlimseqError) as error:
            sys.exit(f"error: {error}")
    shown = Table("turn", "p95 alone, ms", "p95 beside an evaluation, ms", "ratio")
    for place, turn in enumerate(found.turns, 1):
        ratio = turn.beside_p95_ms / turn.alone_p95_ms
        shown.add_row(str(place), number(turn.alone_p95_ms, 1), number(turn.beside_p95_ms, 1), number(ratio, 2))
    console = wide_console(WIDTH)
    console.print(shown)
    console.print(f"{found.artifact}, {found.clients} clients: {found.ratio:.2f} times, the median turn's")
    write_json(found, given.json)


if __name__ == "__main__":
    main()
