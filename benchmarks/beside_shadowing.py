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

from benchmarks.command import BenchmarkFailed, Record, parser_of, record, run, task_and_variant
from benchmarks.load import Client
from benchmarks.sections import table_of, taken_on
from benchmarks.servers.contenders import service
from benchmarks.servers.process import running
from benchmarks.turns import ratio_of
from benchmarks.workload import workload
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
    asks = workload(store.manifest(task, variant))
    alone = service(store, task, variant)
    beside = replace(service(store, task, variant, shadow_share=given.share), name="shadowing")
    turns = []
    with running(alone, scratch) as plain, running(beside, scratch) as shadowing:

        def p95_ms(client: Client) -> float:
            measured = client.closed(asks, given.clients, given.seconds)
            if measured.p95_ms is None or measured.errors:
                raise BenchmarkFailed(f"{measured.errors} requests failed: {measured.first_error}")
            return measured.p95_ms

        for number in range(given.turns):
            measured = {}
            for client in (plain, shadowing) if number % 2 == 0 else (shadowing, plain):
                _settled(shadowing, task, variant)
                measured[client] = p95_ms(client)
            turns.append({"alone_p95_ms": measured[plain], "beside_p95_ms": measured[shadowing]})
        outputs = _settled(shadowing, task, variant)
    if not outputs:
        raise BenchmarkFailed("no request was answered again; is the variant a base model?")
    ratio = ratio_of([(turn["beside_p95_ms"], turn["alone_p95_ms"]) for turn in turns])
    return record(
        artifact=f"{task}/{variant}",
        clients=given.clients,
        share=given.share,
        compared_outputs=outputs,
        turns=turns,
        ratio=ratio.median if ratio else None,
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
    """Yields a table of the turns, and the median turn's ratio."""
    turns = [{**turn, "ratio": turn["beside_p95_ms"] / turn["alone_p95_ms"]} for turn in found["turns"]]
    columns = {
        "p95 without shadowing, ms": "{alone_p95_ms:.1f}",
        "p95 with shadowing, ms": "{beside_p95_ms:.1f}",
        "ratio": "{ratio:.2f}",
    }
    yield from table_of(turns, columns)
    words = f"{found['artifact']}, {found['clients']} clients, {found['share']:.0%} shadowed"
    compared = f"{found['compared_outputs']} outputs were compared"
    yield from ("", f"{words}: {found['ratio']:.2f} times, the median turn's; {compared}")
    yield taken_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("beside_shadowing", __doc__)
    default = "translation/quantized"
    parser.add_argument(
        "variant", nargs="?", type=task_and_variant, default=default, metavar="TASK/VARIANT", help=default
    )
    parser.add_argument("--share", type=float, default=0.1, help="of the requests")
    parser.add_argument("--clients", type=int, default=16, help="that wait for their answers at a time")
    parser.add_argument("--seconds", type=float, default=10, help="length of a window")
    parser.add_argument("--turns", type=int, default=5, help="how often both are measured")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
