"""`python -m benchmarks.regression CHECKOUT`: the service of this checkout beside that of another, in turns.

Both serve the same variant of the same store with the same settings. A change must not cost answers a second for 32
clients that wait, or median latency for one client.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, parser_of, record, run
from benchmarks.loads.load import make_requests
from benchmarks.loads.turns import Ratio, compare, throughput_and_latency
from benchmarks.systems.servers import Setup, running, slimseq
from slimseq.evaluation.host import available_cores
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures both.

    Raises:
        SlimseqError: there is no such variant, the folder is no checkout, or one of the services does not start.
    """
    setup = Setup(Store(given.store.resolve()), given.task, given.variant, scratch, available_cores())
    requests, here = make_requests(setup.manifest), slimseq(setup)
    checkout = given.checkout.resolve()
    # Where the other folder has no code, Python would find this checkout's.
    if not (checkout / "app" / "slimseq").is_dir():
        raise BenchmarkFailed(f"{checkout} is no checkout: it has no app/slimseq")
    roots = os.pathsep.join(str(path.parent) for path in sorted(checkout.glob("*/slimseq")))
    there = replace(here, name="before", folder=checkout, environment={**here.environment, "PYTHONPATH": roots})
    with ExitStack() as stack:
        both = {each.name: stack.enter_context(running(each, scratch, requests)) for each in (there, here)}
        compared = compare(both, throughput_and_latency(given.seconds), given.rounds)
    named = {"task": given.task, "variant": given.variant, "checkout": str(given.checkout)}
    return record(**named, rounds=compared["rounds"], ratios=compared["ratios"]["before"])


def lines(found: Record) -> Iterator[str]:
    """Yields what was compared, and every ratio."""
    yield f"{found['task']}/{found['variant']} on {found['host']}: this checkout over {found['checkout']}"
    for name, ratio in found["ratios"].items():
        yield f"  {name}: {Ratio(**ratio) if ratio else 'one of them did not answer'}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("regression", __doc__)
    parser.add_argument("checkout", type=Path, help="a folder with another commit's code; the store must suit both")
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="quantized")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=7)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
