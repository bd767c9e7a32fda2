"""`python -m benchmarks.residency`: what the running service holds in memory as variants come and go.

The first variant is open from the start on. Each other one is opened by an operator's call, asked for a batch of texts,
and closed again; the process's resident bytes are read after each. A second round shows whether memory grows.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.command import Record, parser_of, record, run, task_and_variant
from benchmarks.sections import residency_section
from benchmarks.servers.contenders import ROUTES, service
from benchmarks.servers.process import running
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

VARIANTS = ("translation/quantized", "summarization/quantized")
TOKEN = "of the benchmark"
BATCH = 16
ROUNDS = 2


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Runs the service and lets variants come and go; the first stays.

    Raises:
        BenchmarkFailed: the service does not start, or refuses what it is asked.
    """
    (task, first), *others = given.variants or map(task_and_variant, VARIANTS)
    states: list[Record] = []
    with running(service(Store(given.store), task, first, admin_token=TOKEN), scratch) as client:

        def after(done: str, work: Callable[[], object]) -> None:
            """Does something; notes how long it took, and what the process holds then."""
            started = time.perf_counter()
            work()
            seconds = round(time.perf_counter() - started, 3)
            held = client.call("GET", "/memory", token=TOKEN)["process_resident_bytes"]
            states.append({"done": done, "seconds": seconds, "resident_bytes": int(held)})

        def ask(task: Task, variant: str) -> None:
            texts = [example.source for example in load_examples(task, BUNDLED).examples[:BATCH]]
            path = f"{ROUTES[task]}?variant={variant}"
            after(f"{len(texts)} texts asked of {task}/{variant}", lambda: client.call("POST", path, {"text": texts}))

        def operate(verb: str, name: str) -> None:
            after(f"{verb} {name}", lambda: client.call("POST", f"/variants/{name}/{verb}", {}, TOKEN))

        after(f"{task}/{first} is open", lambda: None)
        ask(task, first)
        for _ in range(ROUNDS):
            for other_task, other in others:
                operate("load", f"{other_task}/{other}")
                ask(other_task, other)
                operate("unload", f"{other_task}/{other}")
    return record(states=states)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("residency", __doc__)
    parser.add_argument("variants", nargs="*", type=task_and_variant, metavar="TASK/VARIANT", help=" ".join(VARIANTS))
    run(parser, arguments, measure, residency_section)


if __name__ == "__main__":
    main()
