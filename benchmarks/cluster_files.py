"""`python -m benchmarks.cluster_files`: how the speed of `slimseq generate --on ray` grows with the number of engines.

It starts Ray on this machine with as many CPUs as there are engines, at least two, and needs the extra `cluster`. The
kernels of the engines sleep (`benchmarks.systems.sleeping`), so that many engines fit a few cores. What is left of the
cost is that of the texts, of Ray and of the files: while an engine waits for them, its kernels do not run. So the share
of time in which kernels run says how near to linear the speed is. It is that of the middle of a job: from when a
quarter of the parts is written until three quarters are. Starts are before, and after it engines have nothing to do.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

# Ray's processes import the engine from this repository.
os.environ["PYTHONPATH"] = str(Path.cwd())

import ray

from benchmarks.command import Record, make_parser, measured_on, record, run, say, table
from benchmarks.systems import sleeping
from slimseq.evaluation.bulk import windows
from slimseq.evaluation.bulk.generate_file import EngineChoice
from slimseq.evaluation.bulk.on_ray.cpus import LEAST_CPUS
from slimseq.evaluation.bulk.on_ray.generate_folder import FolderJob, generate_folder
from slimseq.evaluation.bulk.on_ray.job_folder import PART
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.bulk.workers import EngineSetup
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

# What Ray counts. This machine may have fewer cores and less memory.
MEMORY_BYTES_PER_ENGINE = 1_000_000_000
OBJECT_STORE_BYTES = 500_000_000
# Parts of an engine: with fewer, the middle of a job is short.
LEAST_PARTS = 4


@dataclass(frozen=True)
class Job:
    """The middle of a job: its seconds, the rows that were written then, and the share of time that kernels ran."""

    workers: int
    rows: int
    seconds: float
    share: float


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    if given.parts < LEAST_PARTS:
        raise SystemExit(f"error: --parts must be at least {LEAST_PARTS}")
    task, variant = Task(given.model.partition("/")[0]), given.model.partition("/")[2]
    texts = [" ".join(each.source.split()) for each in load_examples(task, given.data).examples]
    # Parts as short as the model is slow: with kernels that sleep, a whole window takes half a minute.
    windows.WINDOW_ROWS = given.rows
    settings = RowSettings(options={"num_beams": 1})
    jobs = []
    for workers in given.workers:
        parts = workers * given.parts
        folder = scratch / str(workers)
        folder.mkdir()
        data = folder / "data.txt"
        data.write_text("\n".join(islice(cycle(texts), parts * given.rows)), encoding="utf-8")
        job = FolderJob((data,), str(folder / "out"), parts=parts)
        engine = EngineChoice(Store(given.store), task, variant, settings, sleeping.RUNTIME, workers=workers)
        jobs.append(_run_job(job, engine, given.step, workers, folder))
        say(f"{workers} engines: kernels ran in {jobs[-1].share:.1%} of {jobs[-1].seconds:.1f} s")
    given_settings = {"model": given.model, "parts": given.parts, "rows": given.rows, "step_seconds": given.step}
    return record(settings=given_settings, jobs=list(map(asdict, jobs)))


def _run_job(job: FolderJob, engine: EngineChoice, step: float, workers: int, folder: Path) -> Job:
    sleeps = folder / "sleeps"
    sleeps.mkdir()

    def setup(*arguments: Any) -> EngineSetup:
        fields = vars(EngineSetup(*arguments))
        return sleeping.SleepingSetup(**fields, step_seconds=step, sleeps=sleeps, engines=workers)

    ray.init(
        "local",
        num_cpus=max(workers, LEAST_CPUS),
        _memory=max(workers, LEAST_CPUS) * MEMORY_BYTES_PER_ENGINE,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    try:
        done = generate_folder(job, engine, lambda *_: None, setup)
    finally:
        ray.shutdown()
    written = sorted(path.stat().st_mtime for path in Path(job.out).glob(f"{PART}*"))
    first, last = len(written) // 4, len(written) * 3 // 4
    start, end = written[first - 1], written[last - 1]
    share = sleeping.seconds_asleep(sleeps, start, end) / (workers * (end - start))
    return Job(workers, done.rows * (last - first) // len(written), end - start, share)


def lines(found: Record) -> Iterator[str]:
    settings, jobs = found["settings"], found["jobs"]
    sleep = f"kernels that sleep {settings['step_seconds']} s a step"
    parts = f"{settings['parts']} parts of {settings['rows']} rows for each engine"
    yield f"`python -m benchmarks.cluster_files`: {settings['model']}, {sleep}, {parts}."
    yield from ("", measured_on(found), "")
    rows = [
        (
            f"{job['workers']}",
            f"{job['rows']:,}",
            f"{job['seconds']:.1f}",
            f"{job['share']:.3f}",
            f"{job['share'] / jobs[0]['share']:.2f}",
        )
        for job in jobs
    ]
    yield from table(("engines", "rows", "seconds", "share of kernels", "of linear"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("cluster_files", __doc__)
    parser.add_argument("--model", default="translation/quantized", metavar="TASK/VARIANT", help="int8 ONNX")
    parser.add_argument("--data", default=BUNDLED, metavar="FILE", help="texts, repeated as often as needed")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], metavar="ENGINES")
    parser.add_argument("--parts", type=int, default=12, help="of each engine")
    parser.add_argument("--rows", type=int, default=64, help="of a part")
    parser.add_argument("--step", type=float, default=0.2, metavar="SECONDS", help="time of a token of a batch")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
