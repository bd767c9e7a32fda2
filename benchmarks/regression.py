"""`python -m benchmarks.regression CHECKOUT`: the service of this checkout beside that of another, in turns.

Both serve the same variant of the same store with the same settings. What is compared is what a change must not cost:
answers a second for 32 clients who wait, and the median latency of a client who is alone.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.command import Record, parser_of, record, run
from benchmarks.servers.contenders import Setup, slimseq
from benchmarks.servers.process import Server
from benchmarks.serving import CONTEST_CLIENTS, contending
from benchmarks.turns import Ratio, in_turns, ratio_of
from benchmarks.workload import workload
from slimseq.evaluation.host import available_cores
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


def compare(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures both; returns all rounds, and this checkout's figures by the other's.

    Raises:
        SlimseqError: there is no such variant, or one of the services does not start.
    """
    setup = Setup(Store(given.store.resolve()), given.task, given.variant, scratch, available_cores())
    asks = workload(setup.manifest)
    here = slimseq(setup)
    with ExitStack() as stack:
        servers = (of_checkout(given.checkout.resolve(), here), here)
        both = [stack.enter_context(contending(server, scratch, asks)) for server in servers]
        loads = {
            "many": lambda each: each.closed(CONTEST_CLIENTS, given.seconds),
            "alone": lambda each: each.closed(1, given.seconds),
        }
        rounds = in_turns(both, loads, given.rounds)
    many, alone = ([(each[load]["slimseq"], each[load]["before"]) for each in rounds] for load in loads)
    ratios = {
        f"answers a second, {CONTEST_CLIENTS} clients": ratio_of(
            [(now.requests_per_second, before.requests_per_second) for now, before in many]
        ),
        "p50, one client": ratio_of([(now.p50_ms, before.p50_ms) for now, before in alone]),
    }
    return record(task=given.task, variant=given.variant, checkout=str(given.checkout), rounds=rounds, ratios=ratios)


def of_checkout(checkout: Path, here: Server) -> Server:
    """Returns the service as another checkout has it, also one from before the namespace `slimseq`."""
    if (checkout / "app" / "__main__.py").exists():
        return replace(here, name="before", folder=checkout, arguments=["-m", "app"])
    roots = os.pathsep.join(str(path.parent) for path in sorted(checkout.glob("*/slimseq")))
    return replace(here, name="before", folder=checkout, environment={**here.environment, "PYTHONPATH": roots})


def lines(found: Record) -> Iterator[str]:
    """Yields what was compared, and every ratio."""
    yield f"{found['task']}/{found['variant']} on {found['host']}: this checkout by {found['checkout']}"
    for name, ratio in found["ratios"].items():
        yield f"  {name}: {Ratio(**ratio) if ratio else 'one of them did not answer'}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("regression", __doc__)
    parser.add_argument("checkout", type=Path, help="a folder with another commit's code; the store must suit both")
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="quantized")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=7)
    run(parser, arguments, compare, lines)


if __name__ == "__main__":
    main()
