"""`python -m benchmarks.beside_evaluation`: the latency of live requests with and without a running evaluation.

Both are measured in turns. The evaluation compares the variant with its original on the bundled sample, many times
over, and is deleted after each turn.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import cycle, islice
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, add_variant, measured_on, number, parser_of, record, run, table
from benchmarks.loads.load import Client, Figures, make_requests
from benchmarks.loads.turns import Ratio, compare
from benchmarks.systems.peer_systems import ORIGINAL
from benchmarks.systems.servers import POLL_SECONDS, running, service
from slimseq.app.evaluations.schemas import PAIR_KEYS
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.store import Store

PAIRS = 1000
START_SECONDS = 120.0


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Runs the service and measures it in turns.

    Raises:
        SlimseqError: there is no such variant, or the service does not start, or the evaluation ends too early.
    """
    task, variant = given.variant
    store = Store(given.store)
    requests = make_requests(store.manifest(task, variant))
    pairs = [
        dict(zip(PAIR_KEYS[task], (example.source, example.target), strict=True))
        for example in islice(cycle(load_examples(task, BUNDLED).examples), PAIRS)
    ]
    evaluation = {"task": task, "variants": list(dict.fromkeys([ORIGINAL, variant])), "pairs": pairs}
    with running(service(store, task, variant), scratch, requests) as client:

        def load(meanwhile: Callable[[], AbstractContextManager[None]]) -> Figures:
            with meanwhile():
                return client.closed(given.clients, given.seconds)

        turns = {"alone": nullcontext, "beside": lambda: evaluated(client, evaluation)}
        compared = compare(turns, {"p95": (load, "p95_ms")}, given.turns, subject="beside")
    return record(
        artifact=f"{task}/{variant}",
        clients=given.clients,
        turns=[each["p95"] for each in compared["rounds"]],
        ratio=compared["ratios"]["alone"]["p95"],
    )


@contextmanager
def evaluated(client: Client, evaluation: Record) -> Iterator[None]:
    """Runs an evaluation during the block.

    Raises:
        BenchmarkFailed: the evaluation does not begin, or ends before the block.
    """
    path = f"/evaluations/{client.call('POST', '/evaluations', evaluation)['id']}"
    deadline = time.monotonic() + START_SECONDS
    while (job := client.call("GET", path))["status"] in ("queued", "running") and not job["progress"]:
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"the evaluation has not begun after {START_SECONDS:.0f} seconds")
        time.sleep(POLL_SECONDS)
    yield
    if (job := client.call("GET", path))["status"] != "running":
        raise BenchmarkFailed(f"the evaluation ended too early, as {job['status']}: {job['error']}")
    client.call("DELETE", path)


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the turns, and their ratio."""
    rows = [[number(turn[name]["p95_ms"], 1) for name in ("alone", "beside")] for turn in found["turns"]]
    yield from table(("p95 alone, ms", "p95 beside an evaluation, ms"), rows)
    ratio = Ratio(**found["ratio"]) if found["ratio"] else "some requests failed"
    yield from ("", f"{found['artifact']}, {found['clients']} clients, p95 beside over alone: {ratio}")
    yield measured_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("beside_evaluation", __doc__)
    add_variant(parser, "translation/quantized")
    parser.add_argument("--clients", type=int, default=4, help="each waits for its answer")
    parser.add_argument("--seconds", type=float, default=10, help="length of each load")
    parser.add_argument("--turns", type=int, default=5)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
