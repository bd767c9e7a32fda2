"""`python -m benchmarks.regression CHECKOUT`: the service of this checkout beside that of another, in turns.

Both serve the same variant of the same store with the same settings. What is compared is what a change must not cost:
answers a second for 32 clients who wait, and the median latency of a client who is alone.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.command_line import end_on_termination
from benchmarks.contest import Ratio
from benchmarks.figures import Figures
from benchmarks.measuring import Contender, contending
from benchmarks.servers.contenders import Setup, slimseq
from benchmarks.servers.process import Server, ServerFailed
from benchmarks.workload import Lengths, Searching, workload
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.host import available_cores, host_name
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

CLIENTS = 32


def compare(given: argparse.Namespace, scratch: Path) -> dict[str, Ratio]:
    """Measures both; returns this checkout's figures by the other's.

    Raises:
        SlimseqError: there is no such variant.
        ServerFailed: one of the services does not start.
    """
    setup = Setup(Store(given.store), given.task, given.variant, scratch, available_cores())
    asks = workload(setup.manifest, load_examples(given.task, BUNDLED).examples, Lengths(0, 0), Searching(None, None))
    here = slimseq(setup)
    there = _of(given.checkout.resolve(), here)
    with ExitStack() as stack:
        both = [stack.enter_context(contending(each, scratch, asks)) for each in (there, here)]
        rates = _in_turns(both, given.rounds, lambda each: each.closed(CLIENTS, given.seconds))
        alone = _in_turns(both, given.rounds, lambda each: each.closed(1, given.seconds))
    return {
        f"answers a second, {CLIENTS} clients": _ratio(rates, lambda found: found.requests_per_second),
        "p50, one client": _ratio(alone, lambda found: found.p50_ms or 0.0),
    }


def _of(checkout: Path, here: Server) -> Server:
    """Returns the service as another checkout has it, also one from before the namespace `slimseq`."""
    if (checkout / "app" / "__main__.py").exists():
        return replace(here, name="before", folder=checkout, arguments=["-m", "app"])
    roots = os.pathsep.join(str(path.parent) for path in sorted(checkout.glob("*/slimseq")))
    return replace(here, name="before", folder=checkout, environment={**here.environment, "PYTHONPATH": roots})


def _in_turns(
    both: Sequence[Contender], rounds: int, measure: Callable[[Contender], Figures]
) -> list[dict[str, Figures]]:
    found = []
    for number in range(rounds):
        order = both if number % 2 == 0 else list(reversed(both))
        found.append({each.name: measure(each) for each in order})
    return found


def _ratio(rounds: Sequence[dict[str, Figures]], figure: Callable[[Figures], float]) -> Ratio:
    ratios = [figure(each["slimseq"]) / figure(each["before"]) for each in rounds]
    return Ratio(median(ratios), min(ratios), max(ratios))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__)
    parser.add_argument("checkout", type=Path, help="a folder with another commit's code")
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="quantized")
    store = "artifacts that both serve"
    parser.add_argument("--store", type=lambda path: Path(path).resolve(), required=True, help=store)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="slimseq-regression-") as scratch:
            ratios = compare(given, Path(scratch))
    except (SlimseqError, ServerFailed) as error:
        parser.exit(1, f"{error}\n")
    sys.stdout.write(f"{given.task}/{given.variant} on {host_name()}: this checkout by {given.checkout}\n")
    for name, ratio in ratios.items():
        sys.stdout.write(f"  {name}: {ratio}\n")


if __name__ == "__main__":
    end_on_termination()
    main()
