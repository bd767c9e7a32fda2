"""`slimseq generate --on ray`: data files in, a folder of rows with outputs out, with the engines of a cluster.

A job is one Dataset of Ray Data: read, generate, write, with checkpoints. The same command goes on after any
interruption. At its end the command reads all parts once: it counts, lists errors, and makes sure that each row is
there once.
"""

import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.checkpoint import CheckpointConfig

from slimseq.evaluation.bulk.data_files import DataFile, Form
from slimseq.evaluation.bulk.file_job import Occupied, check_disk, data_states
from slimseq.evaluation.bulk.generate_file import WORKER_BYTES, EngineChoice, OnProgress, Summary, job_key, open_data
from slimseq.evaluation.bulk.journal import Progress
from slimseq.evaluation.bulk.lines import STANDARD
from slimseq.evaluation.bulk.on_ray.cpus import TASK_CPUS, cores_of_nodes, default_workers, engine_cpus
from slimseq.evaluation.bulk.on_ray.error_reason import reason_of
from slimseq.evaluation.bulk.on_ray.job_folder import INDEX, JobFolder, exists, write_lines
from slimseq.evaluation.bulk.on_ray.parts import CheckpointIds, Part, plan_parts
from slimseq.evaluation.bulk.on_ray.pipeline import ID, Engine, PartFiles, RowSource
from slimseq.evaluation.bulk.row_files import OUTPUT_FIELDS, RowFile, row_file
from slimseq.evaluation.bulk.row_settings import RowIds
from slimseq.evaluation.bulk.workers import EngineSetup, WorkerFailed, Workers
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.inference.generator import runtimes_for
from slimseq.models_store.errors import CannotWrite

# Time between two looks at the parts that are whole, in seconds.
PROGRESS_SECONDS = 2.0


@dataclass(frozen=True)
class FolderJob:
    """What a job on Ray reads and writes.

    Args:
        data: files, read one after the other. Each node has them under the same path.
        out: folder of the parts, or its address.
        errors: file of the rows that could not be done. None: `out` with `.errors.jsonl`.
        field: name of the field with the text. None: the first known one that the first row has.
        data_form: form of the data. None: the endings of the names say it.
        out_form: form of the parts: jsonl or parquet.
        parts: number of parts. Few rows make fewer, and very long rows more. None: as many as the rows ask for.
        may_replace: whether the files of the folder are replaced.
        is_anew: whether what an unfinished job left is discarded.
    """

    data: tuple[Path, ...]
    out: str
    errors: str | None = None
    field: str | None = None
    data_form: Form | None = None
    out_form: Form | None = None
    parts: int | None = None
    may_replace: bool = False
    is_anew: bool = False


def generate_folder(
    job: FolderJob, engine: EngineChoice, on_progress: OnProgress, make_setup: Callable[..., EngineSetup] = EngineSetup
) -> Summary:
    """Runs a job, or goes on with it.

    Args:
        job: what is read and written.
        engine: the artifact, which each node has in a store under the same path. Of its `workers`, 0 means one for each
            core of the cluster.
        on_progress: gets the number of rows whose part is whole.
        make_setup: makes what opens the artifact in an actor. Gets the fields of `EngineSetup` in order.

    Raises:
        DatasetUnavailable: a file cannot be read, has no such field, or changes while it is read.
        Occupied: the folder has files, and `may_replace` is not set.
        CannotWrite: the folder cannot be written.
        CannotContinue: another job left the folder unfinished.
        WorkerFailed: Ray cannot be reached, or the artifact cannot be opened on a node.
    """
    manifest = engine.store.manifest(engine.task, engine.variant)
    runtime = runtimes_for(engine.store, manifest, engine.runtime)[0].name
    row_ids = RowIds(manifest, engine.settings)
    ids = CheckpointIds(row_ids.key)
    if job.out == str(STANDARD):
        raise CannotWrite(STANDARD, "--on ray writes a folder, and not standard output")
    files = [DataFile(path if path == STANDARD else path.absolute(), job.data_form, job.field) for path in job.data]
    folder = JobFolder(job.out)
    errors_file = job.errors or folder.address + ".errors.jsonl"
    _check_no_data_is_written(folder, errors_file, files)
    states = data_states(job.data)
    data = open_data(files, job.field)
    form = _part_form(job, data.firsts, files)
    # The number of parts may change.
    key = job_key(job, row_ids, runtime, data.field, states)
    setup = make_setup(
        engine.store.root.resolve(),
        engine.task,
        engine.variant,
        engine.settings,
        runtime,
        engine.threads,
        manifest.digest,
    )
    with folder.locked():
        goes_on = folder.check_free(key, may_replace=job.may_replace, is_anew=job.is_anew)
        if exists(errors_file) and not (job.may_replace or goes_on):
            raise Occupied(f"{errors_file} exists; --force replaces it")
        parts = plan_parts(files, data.field, ids, job.parts)
        total = sum(part.rows for part in parts)
        if folder.is_local:
            check_disk(Path(folder.path), sum(part.size for part in parts), folder.written_bytes() if goes_on else 0)
        # One engine, in a process on this machine: what is wrong with the settings is said before work starts.
        with Workers[Any](setup, 1):
            pass
        _connect()
        cores = cores_of_nodes()
        workers = engine.workers or default_workers(cores, engine.threads)
        reserved = engine_cpus(cores, workers, engine.threads)
        if not goes_on:
            folder.begin(key)
        done = folder.committed_rows()
        on_progress(Progress(rows=done), total, done)
        with _reported(folder, total, done, on_progress):
            sizes = manifest.size.bytes_by_format
            memory = WORKER_BYTES + max(sizes.values(), default=0)
            source = RowSource(files, parts, data.field, ids)
            _run(folder, source, len(parts), setup, data.field, form, workers, reserved, memory)
        if data_states(job.data) != states:
            raise DatasetUnavailable("a data file changed while it was read; --anew begins anew")
        found, reasons = _read_back(folder, form, data.field, total)
        write_lines(errors_file, list(_error_lines(reasons, parts, files)))
        folder.finish()
    return Summary.of(
        found,
        out=folder.address,
        errors_file=errors_file,
        resumed_at=done,
        digest=manifest.digest,
        runtime=runtime,
        workers=workers,
    )


def _check_no_data_is_written(folder: JobFolder, errors_file: str, files: Sequence[DataFile]) -> None:
    for file in files:
        if file.is_standard:
            raise DatasetUnavailable("--on ray reads files that all nodes have, and not standard input")
        if folder.is_local and file.path.resolve().is_relative_to(Path(folder.path).resolve()):
            raise Occupied(f"{folder.address} has data; the output needs another folder")
        if file.path.resolve() == Path(errors_file).resolve():
            raise Occupied(f"{errors_file} is data; the errors need another name")


def _part_form(job: FolderJob, firsts: Sequence[Any], files: Sequence[DataFile]) -> RowFile:
    form = job.out_form or "jsonl"
    if form not in ("jsonl", "parquet"):
        raise DatasetUnavailable(f"--on ray writes jsonl or parquet, whose rows have an {INDEX}, and not {form}")
    found = row_file(form, False, files, firsts, OUTPUT_FIELDS | {INDEX})
    if form == "jsonl":
        return found
    return replace(found, schema=pa.schema([pa.field(INDEX, pa.int64()), *found.schema]))


def _connect() -> None:
    """Connects to the cluster that RAY_ADDRESS names or that runs on this machine, or starts one on this machine."""
    if not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        # Ray raises errors of no type of its own, for example if a process takes long to start.
        except Exception as error:
            raise WorkerFailed(f"Ray cannot be reached: {reason_of(error)}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _run(
    folder: JobFolder,
    source: RowSource,
    blocks: int,
    setup: EngineSetup,
    field: str,
    form: RowFile,
    workers: int,
    reserved: float,
    memory: int,
) -> None:
    """Runs what is left of a job, on Ray Data. An engine reserves `reserved` CPUs and `memory` bytes.

    Raises:
        WorkerFailed: an error ended it.
    """
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    # Nodes are filled up to one half, one after the other, and not in turns: they may have different numbers of cores.
    with warnings.catch_warnings():
        # A later release of Ray, which the extra does not allow, decides it alone.
        warnings.simplefilter("ignore")
        context.scheduling_strategy = "DEFAULT"
    context.checkpoint_config = CheckpointConfig(
        ID, folder.ids, override_filesystem=folder.filesystem, delete_checkpoint_on_success=False
    )
    with DataContext.current(context):
        dataset = ray.data.read_datasource(source, override_num_blocks=blocks, num_cpus=TASK_CPUS)
        dataset = dataset.map_batches(
            Engine,
            fn_constructor_args=(setup, field, form),
            # A part takes much longer than it takes to send one. An engine that had another one waiting would keep it,
            # while others have nothing left to do.
            compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=reserved,
            memory=memory,
            udf_modifying_row_count=False,
        )
        try:
            dataset.write_datasink(PartFiles(folder, form), ray_remote_args={"num_cpus": TASK_CPUS})
        except Exception as error:
            raise WorkerFailed(f"the job on Ray has ended: {reason_of(error)}") from error


@contextmanager
def _reported(folder: JobFolder, total: int, done: int, on_progress: OnProgress) -> Iterator[None]:
    """Reports the rows whose part is whole while the block runs."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(PROGRESS_SECONDS):
            # A part may be renamed meanwhile.
            with suppress(OSError, pa.ArrowException):
                on_progress(Progress(rows=folder.committed_rows()), total, done)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _read_back(folder: JobFolder, form: RowFile, field: str, total: int) -> tuple[Progress, dict[int, str]]:
    """Returns the counts of all parts, and the reasons of errors by the index of their row.

    Raises:
        WorkerFailed: a row is missing, or is there twice.
    """
    folder.delete_uncommitted()
    counts = bytearray(total)
    reasons: dict[int, str] = {}
    warned = words = output_tokens = 0
    for row in folder.read_rows(form.form):
        index = row[INDEX]
        if counts[index]:
            raise WorkerFailed(f"{folder.address} has the row with the {INDEX} {index} twice; --anew begins anew")
        counts[index] = 1
        if row.get("error") is not None:
            reasons[index] = row["error"]
            continue
        warned += bool(row.get("warnings"))
        words += len(row[field].split())
        output_tokens += row.get("output_tokens") or 0
    rows = sum(counts)
    if rows < total:
        raise WorkerFailed(f"{folder.address} lacks {total - rows:,} of {total:,} rows; the same command goes on")
    found = Progress(rows=rows, errors=len(reasons), warned=warned, words=words, output_tokens=output_tokens)
    return found, reasons


def _error_lines(reasons: dict[int, str], parts: Sequence[Part], files: Sequence[DataFile]) -> Iterator[str]:
    """Yields a line for each row that could not be done. Its number begins with 1, as on one machine."""
    for part in parts:
        indexes = range(part.index, part.index + part.rows)
        if reasons.keys().isdisjoint(indexes):
            continue
        for index, row in zip(indexes, part.read(files), strict=True):
            if index in reasons:
                described = {"row": index + 1, "file": row.file, "line": row.line, "reason": reasons[index]}
                yield json.dumps(described)
