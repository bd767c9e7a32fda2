"""`python -m benchmarks.beside_evaluation`: the latency of live requests with and without an evaluation that runs.

Both are measured in turns, seconds apart, and compared turn by turn, because a machine's speed drifts. The evaluation
compares the variant with its original on the bundled sample, again and again, and is deleted after each turn.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, parser_of, record, run, task_and_variant
from benchmarks.load import Client
from benchmarks.sections import table_of, taken_on
from benchmarks.servers.contenders import ORIGINAL, service
from benchmarks.servers.process import running
from benchmarks.turns import ratio_of
from benchmarks.workload import workload
from slimseq.app.http.schemas.evaluation import PAIR_KEYS
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.store import Store

PAIRS = 1000
START_SECONDS = 120.0
POLL_SECONDS = 0.1


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Runs the service and measures it in turns.

    Raises:
        SlimseqError: there is no such variant; the service does not start or answer, or ended the evaluation too early.
    """
    task, variant = given.variant
    store = Store(given.store)
    asks = workload(store.manifest(task, variant))
    pairs = [
        dict(zip(PAIR_KEYS[task], (example.source, example.target), strict=True))
        for example in islice(cycle(load_examples(task, BUNDLED).examples), PAIRS)
    ]
    evaluation = {"task": task, "variants": list(dict.fromkeys([ORIGINAL, variant])), "pairs": pairs}
    turns = []
    with running(service(store, task, variant), scratch) as client:

        def p95_ms() -> float:
            measured = client.closed(asks, given.clients, given.seconds)
            if measured.p95_ms is None or measured.errors:
                raise BenchmarkFailed(f"{measured.errors} requests failed: {measured.first_error}")
            return measured.p95_ms

        for _ in range(given.turns):
            alone = p95_ms()
            with evaluated(client, evaluation):
                turns.append({"alone_p95_ms": alone, "beside_p95_ms": p95_ms()})
    ratio = ratio_of([(turn["beside_p95_ms"], turn["alone_p95_ms"]) for turn in turns])
    return record(
        artifact=f"{task}/{variant}", clients=given.clients, turns=turns, ratio=ratio.median if ratio else None
    )


@contextmanager
def evaluated(client: Client, evaluation: Record) -> Iterator[None]:
    """Has an evaluation run while the block does.

    Raises:
        BenchmarkFailed: it does not begin, or ends before the block does.
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
    """Yields a table of the turns, and the median turn's ratio."""
    turns = [{**turn, "ratio": turn["beside_p95_ms"] / turn["alone_p95_ms"]} for turn in found["turns"]]
    columns = {
        "p95 alone, ms": "{alone_p95_ms:.1f}",
        "p95 beside an evaluation, ms": "{beside_p95_ms:.1f}",
        "ratio": "{ratio:.2f}",
    }
    yield from table_of(turns, columns)
    yield from ("", f"{found['artifact']}, {found['clients']} clients: {found['ratio']:.2f} times, the median turn's")
    yield taken_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("beside_evaluation", __doc__)
    default = "translation/quantized"
    parser.add_argument(
        "variant", nargs="?", type=task_and_variant, default=default, metavar="TASK/VARIANT", help=default
    )
    parser.add_argument("--clients", type=int, default=4, help="that wait for their answers at a time")
    parser.add_argument("--seconds", type=float, default=10, help="length of a window")
    parser.add_argument("--turns", type=int, default=5, help="how often both are measured")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
