"""`generate`: a file of texts becomes a file of their outputs."""

import importlib.util
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import ValidationError
from rich.progress import Progress as Display

from slimseq.cli.arguments import FLAG, Shared, TaskArgument
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.options import COMMON, DATA, OUTPUT, POSITIVE, flat
from slimseq.evaluation.bulk.data_files import Form
from slimseq.evaluation.bulk.file_job import FileJob
from slimseq.evaluation.bulk.generate_file import EngineChoice, Summary, generate_file
from slimseq.evaluation.bulk.journal import Progress
from slimseq.evaluation.bulk.lines import STANDARD
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.inference.generator import OnOverflow
from slimseq.inference.text.glossary_files import read_glossary_file
from slimseq.inference.text.rows import Format, LongInput
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import pip_install

SEARCH = Group("Generation", sort_key=3)
# A file, or `-` for standard input and output.
STANDARD_TOO = Parameter(group=COMMON, allow_leading_hyphen=True)


class RowsFailed(SlimseqError):
    """Raised after a job that has written all rows, if some of them have an error instead of an output."""


@flat(SEARCH)
@dataclass(frozen=True)
class SearchOptions:
    """Generation options. None means the artifact's default. `GenerationOptions` has their bounds."""

    num_beams: int | None = None
    """Number of beams for beam search. 1 means no beam search. By default the artifact's, like all of these."""
    num_return_sequences: int | None = None
    """Number of outputs for each text, best first: the further ones are `alternatives`. At most `num_beams`."""
    length_penalty: float | None = None
    """Exponential penalty to the length in beam search. Above 0 promotes longer outputs, below 0 shorter ones."""
    early_stopping: bool | None = None
    """Stop beam search as soon as there are as many complete candidates as beams."""
    no_repeat_ngram_size: int | None = None
    """If above 0, all n-grams of that size can only occur once."""
    min_new_tokens: int | None = None
    """Minimum number of tokens to generate."""
    max_new_tokens: int | None = None
    """Maximum number of tokens to generate (for translation, for each sentence)."""
    repetition_penalty: float | None = None
    """Penalty for tokens that were already generated. 1 means no penalty."""
    do_sample: bool | None = None
    """Sample instead of searching."""
    temperature: float | None = None
    """Value that divides the logits before sampling."""
    top_k: int | None = None
    """Number of highest-probability tokens to keep for sampling. 0 keeps all."""
    top_p: float | None = None
    """Keep only the smallest set of most probable tokens with probabilities that add up to this or more."""
    seed: int | None = None
    """Seed of sampling. By default 0, so that a job that goes on ends in the same file."""

    def given(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.do_sample and self.seed is None:
            values["seed"] = 0
        return {name: value for name, value in values.items() if value is not None}


@flat(COMMON)
@dataclass(frozen=True)
class TextOptions:
    """What is done with the texts, as by a request to the service."""

    source: str | None = None
    """Language of the texts, by its code, such as de. Translation only."""
    target: str | None = None
    """Language of the outputs. Translation only."""
    format_: Annotated[Format, Parameter(name="--format")] = "text"
    """Format of the texts: text, html or markdown. Translations keep the markup, summaries have none."""
    glossary: Path | None = None
    """File with terms and what stands for them in translations: NAME.csv or NAME.tbx."""
    keep: tuple[str, ...] = ()
    """Name that comes out as it went in. Repeatable. Translation only."""
    protect: bool = True
    """Keep numbers, dates, URLs, code and their like as they are. Translation only."""
    repair: bool = True
    """Generate an output once more that repeats itself or has lost something."""
    on_overflow: OnOverflow = "truncate"
    """What happens to a text that is longer than the model reads: truncate it, or error."""
    long_input: LongInput = "truncate"
    """map_reduce summarizes a document that is too long part by part. Summarization only."""
    prefix: str | None = None
    """Text before each input. By default the artifact's own."""
    stop: tuple[str, ...] = ()
    """String that ends an output. Repeatable."""
    as_is: Annotated[bool, FLAG] = False
    """Give whole texts to the model as they are, without sentences, protected spans, warnings and repairs: as evaluate
    and distill do. Their --teacher-outputs reads such a file."""

    def settings(self, task: Task, options: Mapping[str, Any]) -> RowSettings:
        self._check(task)
        return RowSettings(
            options=options,
            on_overflow=self.on_overflow,
            long_input=self.long_input,
            stop=self.stop,
            prefix=self.prefix,
            source=self.source,
            target=self.target,
            format=self.format_,
            protect=self.protect,
            repair=self.repair,
            glossary=None if self.glossary is None else read_glossary_file(self.glossary),
            keep=self.keep,
            as_is=self.as_is,
        )

    def _check(self, task: Task) -> None:
        """Refuses options that have no effect."""
        default = TextOptions()
        without_effect: set[str] = set()
        if task is Task.SUMMARIZATION:
            without_effect |= {"source", "target", "glossary", "keep", "protect"}
        else:
            without_effect |= {"long_input"}
        if self.as_is:
            without_effect |= {"format_", "glossary", "keep", "protect", "repair", "long_input", "stop"}
        for each in fields(self):
            if each.name in without_effect and getattr(self, each.name) != getattr(default, each.name):
                name = each.name.rstrip("_").replace("_", "-")
                reason = "with --as-is" if self.as_is else f"for {task.value}"
                raise BadParameters(f"--{name} has no effect {reason}; leave it out")


def generate_command(
    task: TaskArgument,
    variant: str,
    /,
    *,
    data: Annotated[tuple[Path, ...], STANDARD_TOO],
    out: Annotated[str, STANDARD_TOO],
    field: Annotated[str | None, Parameter(group=DATA)] = None,
    errors: Annotated[str | None, Parameter(group=DATA)] = None,
    data_form: Annotated[Form | None, Parameter(group=DATA)] = None,
    out_form: Annotated[Form | None, Parameter(group=DATA)] = None,
    texts: TextOptions = TextOptions(),
    search: SearchOptions = SearchOptions(),
    runtime: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    workers: Annotated[int | None, POSITIVE, Parameter(group=OUTPUT)] = None,
    threads: Annotated[int, POSITIVE, Parameter(group=OUTPUT)] = 1,
    on: Annotated[Literal["ray"] | None, Parameter(group=OUTPUT)] = None,
    parts: Annotated[int | None, POSITIVE, Parameter(group=OUTPUT)] = None,
    force: Annotated[bool, FLAG, Parameter(group=OUTPUT)] = False,
    anew: Annotated[bool, FLAG, Parameter(group=OUTPUT)] = False,
    shared: Shared = Shared(),
) -> None:
    """Translate or summarize the texts of files, on all cores. An interrupted job goes on with the same command.

    Rows come out in the order in which they went in, with their fields, `output`, and `warnings`, `confidence` and
    `finish_reason` as the service has them. A row that cannot be done has an `error`, and is listed in --errors: the
    job goes on, and its exit code is 1.

    Args:
        variant: Variant that generates, such as `quantized`.
        data: File of texts: .jsonl, .txt or .tsv, each also .gz, or .parquet. Repeatable. `-` is standard input.
        out: File to write: of these forms too. `-` is standard output. With --on ray a folder, or an address such as
            s3://bucket/folder.
        field: Field with the text. By default the first of document, article, source and text.
        errors: File of the rows that could not be done, a JSON object a line. By default OUT.errors.jsonl.
        data_form: Form of the data, where its name does not say it. Standard input is txt by default.
        out_form: Form of the output, where its name does not say it. Standard output has by default that of the data.
        runtime: Runtime: onnxruntime, ctranslate2 or torch. By default the one that serves.
        workers: Number of processes that generate. By default one for each core, as far as the memory allows. With --on
            ray one for each core of the cluster.
        threads: Number of threads of each process.
        on: ray runs the job on all nodes of a Ray cluster, and writes a folder of .jsonl or .parquet files. Their rows
            have an `index`, which restores the order of the data.
        parts: Number of files that --on ray writes, fewer for few rows. By default one for every thousand short rows.
        force: Replace the output.
        anew: Begin anew, and discard what an unfinished job has done.
    """
    if on is None and parts is not None:
        raise BadParameters("--parts has no effect without --on ray; leave it out")
    if on == "ray":
        _check_ray()
    context = shared.reading()
    settings = texts.settings(task, search.given())
    try:
        context.store.manifest(task, variant).generation.options(**settings.options)
    except ValidationError as error:
        raise BadParameters(first_error(error, whole="")) from error
    engine = EngineChoice(context.store, task, variant, settings, runtime, workers or 0, threads)
    started = time.monotonic()
    with context.progress() as display:
        bar = _Bar(display, f"generate {task}/{variant}")
        try:
            if on == "ray":
                from slimseq.evaluation.bulk.on_ray.generate_folder import FolderJob, generate_folder

                is_resumable = True
                cluster_job = FolderJob(data, out, errors, field, data_form, out_form, parts, force, anew)
                done = generate_folder(cluster_job, engine, bar.show)
            else:
                errors_path = None if errors is None else Path(errors)
                job = FileJob(data, Path(out), errors_path, field, data_form, out_form, force, anew)
                is_resumable = job.is_resumable
                done = generate_file(job, engine, bar.show)
        except DatasetUnavailable:
            # The data must change first, and a job does not go on with changed data.
            raise
        except BaseException:
            if bar.rows and is_resumable:
                context.say(
                    f"{out} is not finished: {bar.rows:,} rows are done. "
                    "The same command goes on where it stopped; --anew begins anew."
                )
            raise
    _show(context, shared, done, time.monotonic() - started)
    if done.errors:
        where = f": {done.errors_file} has their numbers and reasons" if done.errors_file else ""
        raise RowsFailed(f"{done.errors:,} of {done.rows:,} rows could not be done{where}")


def _check_ray() -> None:
    # Ray Data needs both, which Ray alone does not bring.
    if any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow", "pandas")):
        raise BadParameters(f"--on ray needs Ray: {pip_install('cluster')}")


class _Bar:
    """The progress of a job on a display: its rows, and as the status its words a second."""

    def __init__(self, display: Display, description: str) -> None:
        self._display = display
        self._task = display.add_task(description, total=None, status="starting", unit="rows")
        self._started: float | None = None
        self._words_before = 0
        # The rows that are done, earlier runs included.
        self.rows = 0

    def show(self, progress: Progress, total: int | None, resumed_at: int) -> None:
        now = time.monotonic()
        self.rows = progress.rows
        if self._started is None:
            # The start of the workers does not count.
            self._started, self._words_before = now, progress.words
            self._display.reset(
                self._task, total=total, completed=progress.rows, resumed_at=resumed_at, unit="rows", status=""
            )
            return
        seconds = max(now - self._started, 1e-9)
        status = ""
        if progress.words > self._words_before:
            status = f"{(progress.words - self._words_before) / seconds:,.0f} words/s"
        if progress.errors:
            status += f", {progress.errors:,} errors"
        self._display.update(self._task, completed=progress.rows, status=status)


def _show(context: Context, shared: Shared, done: Summary, seconds: float) -> None:
    """Says what a job has done: on standard error where standard output has the rows."""
    rate = (done.rows - done.resumed_at) / max(seconds, 1e-9)
    processes = "1 process" if done.workers == 1 else f"{done.workers} processes"
    found = asdict(done) | {"seconds": round(seconds, 3)}
    lines = [
        f"{done.rows:,} rows, {done.words:,} words and {done.output_tokens:,} output tokens: {done.out}",
        f"This run: {done.rows - done.resumed_at:,} rows in {seconds:,.1f} s, {rate:,.1f} rows/s, with {processes} of "
        f"{done.runtime}.",
    ]
    if done.warned:
        lines.append(f"{done.warned:,} outputs have warnings.")
    if done.out != str(STANDARD):
        shared.show(found, *lines)
        return
    for line in [json.dumps(found)] if shared.as_json else lines:
        context.say(line)


# The options of a request that are options here too.
assert {each.name for each in fields(SearchOptions)} == set(GenerationOptions.model_fields)
