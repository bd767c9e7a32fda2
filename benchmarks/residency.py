"""`python -m benchmarks.residency`: what the running service holds in memory as variants come and go.

The first variant is open from the start on. Each other one is opened by an operator's call, asked for a batch of texts,
and closed again; the process's resident bytes are read after each. A second round shows whether memory grows.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.command_line import end_on_termination, wide_console, write_json
from benchmarks.connection import HOST
from benchmarks.servers.contenders import ROUTES
from benchmarks.servers.process import Server, ServerFailed, running
from benchmarks.taken import Taken
from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

VARIANTS = ("translation/quantized", "summarization/quantized")
TOKEN = "of the benchmark"
BATCH = 16
ROUNDS = 2
TIMEOUT_SECONDS = 120.0
WIDTH = 100


@dataclass(frozen=True)
class State:
    """The service after one thing was done.

    Args:
        done: what.
        seconds: that it took, seen by the client; 0 for what was there from the start.
        resident_bytes: of the process, afterwards.
    """

    done: str
    seconds: float
    resident_bytes: int


@dataclass
class Residency(Taken):
    """What came of it: states in their order."""

    states: list[State] = field(default_factory=list)

    def as_json(self) -> str:
        """Returns all of it."""
        return json.dumps(asdict(self), indent=2) + "\n"


def residency(store: Store, variants: Sequence[tuple[Task, str]], folder: Path) -> Residency:
    """Runs the service and lets variants come and go.

    Args:
        store: holds them.
        variants: the first stays open.
        folder: where the service's log goes.

    Raises:
        ServerFailed: the service does not start, or refuses what it is asked.
    """
    (task, first), *others = variants
    server = Server(
        name="slimseq",
        description="",
        arguments=["-m", "slimseq.app"],
        path=ROUTES[task],
        ready="/readyz",
        environment={
            "SLIMSEQ_STORE": str(store.root),
            "SLIMSEQ_PRELOAD": f"{task}/{first}",
            "SLIMSEQ_ADMIN_TOKEN": TOKEN,
            "SLIMSEQ_LOG_LEVEL": "warning",
        },
        port_variable="SLIMSEQ_PORT",
    )
    found = Residency()
    with running(server, folder) as port:
        found.states.append(_after(port, f"{task}/{first} is open", 0.0))
        found.states.append(_asked(port, task, first))
        for _ in range(ROUNDS):
            for other_task, other in others:
                name = f"{other_task}/{other}"
                for verb in ("load", "unload"):
                    started = time.perf_counter()
                    _ask(port, f"/variants/{name}/{verb}", {})
                    found.states.append(_after(port, f"{verb} {name}", time.perf_counter() - started))
                    if verb == "load":
                        found.states.append(_asked(port, other_task, other))
    return found


def _asked(port: int, task: Task, variant: str) -> State:
    texts = [example.source for example in load_examples(task, "sample").examples[:BATCH]]
    started = time.perf_counter()
    _ask(port, f"{ROUTES[task]}?variant={variant}", {"text": texts})
    return _after(port, f"{len(texts)} texts asked of {task}/{variant}", time.perf_counter() - started)


def _after(port: int, done: str, seconds: float) -> State:
    return State(done, round(seconds, 3), int(_ask(port, "/memory", None)["process_resident_bytes"]))


def _ask(port: int, path: str, body: Any) -> Any:
    """Posts a body, or gets what is there where there is none."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ServerFailed(f"{path}: {json.load(error).get('detail', error.reason)}") from error


def _named(text: str) -> tuple[Task, str]:
    task, _, variant = text.partition("/")
    return Task(task), variant


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.residency", description=__doc__)
    parser.add_argument("variants", nargs="*", type=_named, metavar="TASK/VARIANT", help=f"{' '.join(VARIANTS)}")
    parser.add_argument("--store", type=Path, default=embedded_store())
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    end_on_termination()
    variants = given.variants or [_named(name) for name in VARIANTS]
    with tempfile.TemporaryDirectory(prefix="slimseq-residency-") as folder:
        try:
            found = residency(Store(given.store), variants, Path(folder))
        except ServerFailed as error:
            sys.exit(f"error: {error}")
    shown = Table("what was done", "seconds", "resident MiB")
    for each in found.states:
        shown.add_row(each.done, f"{each.seconds:.2f}", f"{each.resident_bytes / 2**20:.0f}")
    wide_console(WIDTH).print(shown)
    write_json(found, given.json)


if __name__ == "__main__":
    main()
