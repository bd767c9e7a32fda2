"""`python -m benchmarks.cluster_files`: how the speed of `slimseq generate --on ray` grows with the number of engines.

It starts Ray on this machine with as many CPUs as there are engines, at least two, and needs the extra `cluster`. The
kernels of the engines sleep (`benchmarks.systems.sleeping`), so that many engines fit a few cores. What is left of the
cost is that of the texts, of Ray and of the files. Starts of Ray and of the engines do not count: the time is from the
moment when all engines are open until the last part is written. The number of parts is the same for each engine.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
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
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.bulk.workers import EngineSetup
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

# What Ray counts. This machine may have fewer cores and less memory.
MEMORY_BYTES_PER_ENGINE = 1_000_000_000
OBJECT_STORE_BYTES = 500_000_000


def measure(given: argparse.Namespace, scratch: Path) -> Record:
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
        rows, seconds = _run_job(job, engine, given.step, workers, folder)
        jobs.append({"workers": workers, "rows": rows, "seconds": seconds})
        say(f"{workers} engines: {rows:,} rows in {seconds:.1f} s")
    given_settings = {"model": given.model, "parts": given.parts, "rows": given.rows, "step_seconds": given.step}
    return record(settings=given_settings, jobs=jobs)


def _run_job(job: FolderJob, engine: EngineChoice, step: float, workers: int, folder: Path) -> tuple[int, float]:
    """Returns the rows of a job, and the seconds that they took."""
    opened = folder / "opened"
    opened.mkdir()

    def setup(*arguments: Any) -> EngineSetup:
        fields = vars(EngineSetup(*arguments))
        return sleeping.SleepingSetup(**fields, step_seconds=step, opened=opened, engines=workers)

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
    started = max(path.stat().st_mtime for path in opened.iterdir())
    ended = max(path.stat().st_mtime for path in Path(job.out).iterdir())
    return done.rows, ended - started


def lines(found: Record) -> Iterator[str]:
    settings, jobs = found["settings"], found["jobs"]
    sleep = f"kernels that sleep {settings['step_seconds']} s a step"
    parts = f"{settings['parts']} parts of {settings['rows']} rows for each engine"
    yield f"`python -m benchmarks.cluster_files`: {settings['model']}, {sleep}, {parts}."
    yield from ("", measured_on(found), "")
    speeds = [job["rows"] / job["seconds"] for job in jobs]
    one = speeds[0] / jobs[0]["workers"]
    rows = [
        (
            f"{job['workers']}",
            f"{job['rows']:,}",
            f"{job['seconds']:.1f}",
            f"{speed:,.1f}",
            f"{speed / job['workers'] / one:.2f}",
        )
        for job, speed in zip(jobs, speeds, strict=True)
    ]
    yield from table(("engines", "rows", "seconds", "rows/s", "of linear"), rows)


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
