"""`python -m benchmarks.beside_shadowing`: the latency of live requests with and without shadowing.

Two services run. The reference answers a share of the requests of one of them again. Both are measured in turns,
seconds apart, and compared turn by turn, because a machine's speed drifts. A turn begins once nothing is answered
again.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, add_variant, measured_on, number, parser_of, record, run, table
from benchmarks.loads.load import Client, Figures, make_requests
from benchmarks.loads.turns import Ratio, compare
from benchmarks.systems.servers import running, service
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SETTLE_SECONDS = 120.0
# The longest answer of a reference to a single text of the bundled samples, on an idle core, with a margin.
QUIET_SECONDS = 3.0


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Runs both services and measures them in turns.

    Raises:
        SlimseqError: there is no such variant; a service does not start or answer, or nothing was shadowed.
    """
    task, variant = given.variant
    store = Store(given.store)
    requests = make_requests(store.manifest(task, variant))
    alone = service(store, task, variant)
    beside = replace(service(store, task, variant, shadow_share=given.share), name="shadowing")
    with running(alone, scratch, requests) as plain, running(beside, scratch, requests) as shadowing:

        def load(client: Client) -> Figures:
            _settled(shadowing, task, variant)
            return client.closed(given.clients, given.seconds)

        clients = {"alone": plain, "beside": shadowing}
        compared = compare(clients, {"p95": (load, "p95_ms")}, given.turns, subject="beside")
        outputs = _settled(shadowing, task, variant)
    if not outputs:
        raise BenchmarkFailed("no request was answered again; is the variant a base model?")
    return record(
        artifact=f"{task}/{variant}",
        clients=given.clients,
        share=given.share,
        compared_outputs=outputs,
        turns=[each["p95"] for each in compared["rounds"]],
        ratio=compared["ratios"]["alone"]["p95"],
    )


def _settled(client: Client, task: Task, variant: str) -> int:
    """Waits until nothing is answered again any more; returns how many outputs were compared so far."""
    deadline, counted = time.monotonic() + SETTLE_SECONDS, -1
    while time.monotonic() < deadline:
        [quality] = client.call("GET", f"/quality?task={task}&variant={variant}")["qualities"]
        live = quality["live_agreement"]
        outputs = live["outputs"] if live else 0
        if outputs == counted:
            return counted
        counted = outputs
        time.sleep(QUIET_SECONDS)
    raise BenchmarkFailed(f"requests are still answered again after {SETTLE_SECONDS:.0f} seconds")


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the turns, and their ratio."""
    rows = [[number(turn[name]["p95_ms"], 1) for name in ("alone", "beside")] for turn in found["turns"]]
    yield from table(("p95 without shadowing, ms", "p95 with shadowing, ms"), rows)
    ratio = Ratio(**found["ratio"]) if found["ratio"] else "some requests failed"
    words = f"{found['artifact']}, {found['clients']} clients, {found['share']:.0%} shadowed"
    yield from ("", f"{words}: {ratio}; {found['compared_outputs']} outputs were compared")
    yield measured_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("beside_shadowing", __doc__)
    add_variant(parser, "translation/quantized")
    parser.add_argument("--share", type=float, default=0.1, help="of the requests")
    parser.add_argument("--clients", type=int, default=16, help="that wait for their answers at a time")
    parser.add_argument("--seconds", type=float, default=10, help="length of a window")
    parser.add_argument("--turns", type=int, default=5, help="how often both are measured")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
