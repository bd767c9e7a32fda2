"""`python -m benchmarks.regression [COMMIT]`: the services of this checkout and of another commit, in turns.

Without a commit it is the one that `benchmarks/baseline` names. Only a faster commit replaces it, so that losses below
a run's noise cannot add up. Both serve the same variant of the same weights with the same settings, each with the files
that its own code makes of these weights, as `make run` does: what a user of that commit has. A build of another commit
is kept in `build/regression`. A change must not cost answers a second for 32 clients that wait, or median latency for
one client.
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
ROOT = BASELINE.parents[1]
BUILDS = ROOT / "build" / "regression"


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    setup = Setup(Store(given.store.resolve()), given.task, given.variant, scratch, available_cores())
    requests = make_requests(setup.manifest)
    commit = _run(["git", "rev-parse", "--verify", f"{given.commit}^{{commit}}"], f"commit {given.commit}")
    code_before, archive = scratch / "before", scratch / "before.tar"
    _run(["git", "archive", f"--output={archive}", commit, ".", ":(exclude)models_store/artifacts"], given.commit)
    shutil.unpack_archive(archive, code_before, filter="data")
    # The store that the other commit builds is kept for the next run.
    store_before = BUILDS / f"{commit}-{setup.task}-{setup.variant}-{setup.manifest.parent or setup.manifest.digest}"
    if not store_before.exists():
        BUILDS.mkdir(parents=True, exist_ok=True)
        shutil.move(build(code_before, setup, scratch / "store-before"), store_before)
    here = slimseq(replace(setup, store=Store(build(ROOT, setup, scratch / "store"))))
    there = server_before(code_before, here, store_before)
    seconds = given.seconds
    loads: Loads = {
        f"answers a second, {COMPARED_CLIENTS} clients": (
            lambda each: each.closed(COMPARED_CLIENTS, seconds),
            "requests_per_second",
        ),
        "p50, one client": (lambda each: each.closed(1, seconds), "p50_ms"),
    }
    with ExitStack() as stack:
        both = {each.name: stack.enter_context(running(each, scratch, requests)) for each in (there, here)}
        compared = compare(both, loads, given.rounds)
    named = {"task": given.task, "variant": given.variant, "commit": given.commit}
    return record(**named, rounds=compared["rounds"], ratios=compared["ratios"]["before"])


def build(code: Path, setup: Setup, target: Path) -> Path:
    """Makes a store with the same variant, by the command `prepare` of the given code. Returns the store's folder."""
    module = "models_store.manifest" if _is_older(code) else "slimseq.models_store.manifest"
    parents = {step.parent for step in setup.manifest.lineage}
    # `prepare` makes the files of the variant from its own artifact and from those that it was built of.
    for each in setup.store.manifests(setup.task):
        if each.digest in parents or each == setup.manifest:
            folders = [str(store.folder(setup.task, each.variant)) for store in (setup.store, Store(target))]
            _run([sys.executable, older_manifest.__file__, module, *folders], "the commit cannot read it", code)
    prepare = ["-m", "compression" if _is_older(code) else "slimseq", "prepare", "--no-measure", "--store", str(target)]
    _run([sys.executable, *prepare], f"the commit cannot build {setup.task}/{setup.variant}", code)
    return target


def server_before(code: Path, here: Server, store: Path) -> Server:
    """Returns the service of another commit, with the settings of this one's."""
    arguments = ["-m", "app"] if _is_older(code) else here.arguments
    environment = {**here.environment, **_paths(code), "SLIMSEQ_STORE": str(store)}
    return replace(here, name="before", arguments=arguments, folder=code, environment=environment)


def _is_older(code: Path) -> bool:
    """Whether `app` and the other folders are packages themselves, as until November 2026."""
    return (code / "app" / "__main__.py").exists()


def _paths(code: Path) -> dict[str, str]:
    """Returns the environment in which Python imports the given code, and not the installed one."""
    roots = [code] if _is_older(code) else [path.parent for path in sorted(code.glob("*/slimseq"))]
    return {"PYTHONPATH": os.pathsep.join(map(str, roots))}


def _run(command: list[str], failure: str, code: Path = ROOT) -> str:
    """Runs a command with the given code, and returns its output. `failure` begins the text of the error."""
    done = subprocess.run(command, env={**os.environ, **_paths(code)}, cwd=code, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkFailed(f"{failure}: {done.stderr.strip()}")
    return done.stdout.strip()


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
