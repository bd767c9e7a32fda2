"""`python -m benchmarks.residency`: the memory of the running service as variants are loaded and unloaded.

The first variant is loaded from the start on. Each other one is loaded by an operator's call, generates for a batch of
texts, and is unloaded; the process's resident bytes are read after each. A second round shows whether memory grows.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.command import Record, measured_on, parser_of, record, run, table, task_and_variant
from benchmarks.systems.servers import ROUTES, running, service
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

VARIANTS = ("translation/quantized", "summarization/quantized")
TOKEN = "of the benchmark"
BATCH = 16
ROUNDS = 2


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Runs the service, and loads and unloads variants; the first stays.

    Raises:
        BenchmarkFailed: the service does not start, or refuses a request.
    """
    (task, first), *others = given.variants or map(task_and_variant, VARIANTS)
    states: list[Record] = []
    server = replace(service(Store(given.store), task, first, admin_token=TOKEN), token=TOKEN)
    with running(server, scratch) as client:

        def post(done: str, path: str, body: Any) -> None:
            """Sends a request, and keeps its seconds and what the process holds then."""
            started = time.perf_counter()
            client.call("POST", path, body)
            keep(done, round(time.perf_counter() - started, 3))

        def keep(done: str, seconds: float) -> None:
            held = client.call("GET", "/memory")["process_resident_bytes"]
            states.append({"done": done, "seconds": seconds, "resident_bytes": int(held)})

        def generate(task: Task, variant: str) -> None:
            texts = [example.source for example in load_examples(task, BUNDLED).examples[:BATCH]]
            done = f"{len(texts)} texts asked of {task}/{variant}"
            post(done, f"{ROUTES[task]}?variant={variant}", {"text": texts})

        keep(f"{task}/{first} is open", 0)
        generate(task, first)
        for other_task, other in others * ROUNDS:
            post(f"load {other_task}/{other}", f"/variants/{other_task}/{other}/load", {})
            generate(other_task, other)
            post(f"unload {other_task}/{other}", f"/variants/{other_task}/{other}/unload", {})
    return record(states=states)


def lines(found: Record) -> Iterator[str]:
    """Yields the section of a record."""
    yield from ("## Memory as variants come and go", "")
    yield "`python -m benchmarks.residency`: resident bytes of the service's process after each."
    yield from ("", measured_on(found), "")
    states = [
        [each["done"], f"{each['seconds']:.2f}", f"{each['resident_bytes'] / 2**20:.0f}"] for each in found["states"]
    ]
    yield from table(("what was done", "seconds", "resident MiB"), states)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("residency", __doc__)
    parser.add_argument("variants", nargs="*", type=task_and_variant, metavar="TASK/VARIANT", help=" ".join(VARIANTS))
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
