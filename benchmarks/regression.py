"""`python -m benchmarks.regression [COMMIT]`: the service of this checkout beside that of another commit, in turns.

Without a commit it is the one that `benchmarks/baseline` names. Only a faster commit replaces it, so that losses below
a run's noise cannot add up. Both serve the same files of the same variant with the same settings. A change must not
cost answers a second for 32 clients that wait, or median latency for one client.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, make_parser, record, run
from benchmarks.loads.load import make_requests
from benchmarks.loads.turns import COMPARED_CLIENTS, Loads, Ratio, compare
from benchmarks.systems import older_manifest
from benchmarks.systems.servers import Server, Setup, running, slimseq
from slimseq.evaluation.host import available_cores
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

BASELINE = Path(__file__).with_name("baseline")


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    setup = Setup(Store(given.store.resolve()), given.task, given.variant, scratch, available_cores())
    requests, here = make_requests(setup.manifest), slimseq(setup)
    there = server_before(write_code(given.commit, scratch / "before"), here, setup)
    many, seconds = f"answers a second, {COMPARED_CLIENTS} clients", given.seconds
    loads: Loads = {
        many: (lambda each: each.closed(COMPARED_CLIENTS, seconds), "requests_per_second"),
        "p50, one client": (lambda each: each.closed(1, seconds), "p50_ms"),
    }
    with ExitStack() as stack:
        both = {each.name: stack.enter_context(running(each, scratch, requests)) for each in (there, here)}
        compared = compare(both, loads, given.rounds)
    named = {"task": given.task, "variant": given.variant, "commit": given.commit}
    return record(**named, rounds=compared["rounds"], ratios=compared["ratios"]["before"])


def write_code(commit: str, folder: Path) -> Path:
    """Writes the code of a commit to a folder, and returns the folder."""
    archive = folder.with_suffix(".tar")
    command = ["git", "-C", str(BASELINE.parents[1]), "archive", f"--output={archive}", commit]
    done = subprocess.run([*command, ".", ":(exclude)models_store/artifacts"], capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkFailed(f"commit {commit}: {done.stderr.strip()}")
    shutil.unpack_archive(archive, folder, filter="data")
    return folder


def server_before(checkout: Path, here: Server, setup: Setup) -> Server:
    """Returns the service of another commit, with the settings of this one's and a copy of the variant."""
    roots, arguments = [str(path.parent) for path in sorted(checkout.glob("*/slimseq"))], here.arguments
    module, store = "slimseq.models_store.manifest", Store(setup.scratch / "store-before")
    if (checkout / "app" / "__main__.py").exists():
        # Until November 2026, `app` and the other folders were packages themselves.
        roots, arguments, module = [str(checkout)], ["-m", "app"], "models_store.manifest"
    paths = {"PYTHONPATH": os.pathsep.join(roots)}
    folders = [str(each.folder(setup.task, setup.variant)) for each in (setup.store, store)]
    command = [sys.executable, older_manifest.__file__, module, *folders]
    done = subprocess.run(command, env={**os.environ, **paths}, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkFailed(f"the commit cannot read {setup.task}/{setup.variant}: {done.stderr.strip()}")
    environment = {**here.environment, **paths, "SLIMSEQ_STORE": str(store.root)}
    return replace(here, name="before", arguments=arguments, folder=checkout, environment=environment)


def lines(found: Record) -> Iterator[str]:
    yield f"{found['task']}/{found['variant']} on {found['host']}: this checkout over {found['commit']}"
    for name, ratio in found["ratios"].items():
        yield f"  {name}: {Ratio(**ratio) if ratio else 'one of them did not answer'}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("regression", __doc__)
    baseline = BASELINE.read_text(encoding="ascii").strip()
    parser.add_argument("commit", nargs="?", default=baseline, help="the baseline by default")
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="quantized")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=7)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
