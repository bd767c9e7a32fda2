"""`evaluate`: quality of variants, on the same samples in the same run, on the runtime that serves them."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.commands.arguments import (
    POSITIVE,
    JsonOption,
    RecordOption,
    StoreOption,
    TaskArgument,
    VariantsArgument,
    WorkersOption,
    chosen_variants,
    open_context,
    print_json,
    print_line,
    print_table,
    reading_context,
)
from slimseq.compression.commands.next_step import command_line
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.generation_workers import tallies_of_workers
from slimseq.compression.measure.evaluation_tables import agreement_table_of, lowest_slice_lines, table_of
from slimseq.compression.options import COMMON, flat
from slimseq.evaluation.comet_files import OutputsHeader, ScoredVariant, write_outputs
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.host import cpu_flags
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.evaluation.record import record
from slimseq.evaluation.results import Evaluation
from slimseq.evaluation.run import evaluate, generate_with
from slimseq.evaluation.slices import counts_tokens
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.lineage import root_of
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


class NotRecorded(SlimseqError):
    """Raised after an evaluation whose scores could not be written into a manifest. Has the evaluation."""

    def __init__(self, evaluation: Evaluation, reasons: Mapping[str, SlimseqError]) -> None:
        each = "; ".join(f"{evaluation.task}/{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"the scores were not recorded: {each}")
        self.evaluation = evaluation


@flat(COMMON)
@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate on, and how."""

    dataset: Annotated[str, Parameter(name="--data")] = "sample"
    """Data set: `sample` (bundled), cnn_dailymail, wmt14-de-en, or a file."""
    samples: Annotated[int | None, POSITIVE] = None
    """Number of samples, from the start of the data set. By default all."""
    split: str = "test"
    """Split of a hub data set."""
    runtime: str | None = None
    """Runtime: onnxruntime, ctranslate2 or torch. By default the one that serves."""
    threads: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Number of threads of the runtime. 0 lets the runtime choose."""
    generation: Annotated[Mapping[str, Any], Parameter(parse=False)] = field(default_factory=dict)
    """Generation options that replace the artifacts' defaults."""
    prefix: str | None = None
    """Text before every source. By default the artifact's own."""
    outputs: Path | None = None
    """File to write sources, outputs and targets to, which COMET scores in another environment."""


def evaluate_variants(
    context: Context, task: Task, variants: Sequence[str], options: EvaluateOptions, keep: Sequence[str] = ()
) -> Evaluation:
    """Evaluates variants, with the reference of each among them wherever the store has it.

    Args:
        context: the store, and where progress goes.
        task: the task.
        variants: the variants' names.
        options: data and settings.
        keep: those whose manifests and cards the scores are written into.

    Returns:
        Every metric of every variant, with intervals and retention.

    Raises:
        UnknownVariant, CorruptArtifact, RuntimeUnavailable: a variant cannot be opened.
        DatasetUnavailable: the data cannot be read.
        BadParameters: the folder of the outputs is not there.
        CannotWrite: the outputs cannot be written.
        NotRecorded: a manifest cannot be written, or its artifact was removed or replaced meanwhile.
        WorkersFailed: generation in other processes failed.
    """
    if options.outputs is not None and not options.outputs.parent.is_dir():
        raise BadParameters(f"--outputs: there is no folder {options.outputs.parent}")
    references = references_among(context.store, task, variants)
    names = with_references(variants, references)
    sample = load_examples(task, options.dataset, options.split, options.samples)
    if options.prefix is not None:
        examples = tuple(replace(example, prefix=options.prefix) for example in sample.examples)
        sample = replace(sample, examples=examples)
    with ExitStack() as stack, context.progress() as progress:
        generators: dict[str, TextGenerator] = {}
        for name in names:
            generator = open_generator(context.store, task, name, options.runtime, options.threads)
            generators[name] = stack.enter_context(generator)
        settings = {
            name: generator.manifest.generation.options(**options.generation) for name, generator in generators.items()
        }
        for name, generator in generators.items():
            generator.check(settings[name])
        bar = progress.add_task(f"evaluate {task} on {sample.name}", total=None, status="")

        def advance(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        tallies = None
        if context.workers.count > 1:
            opened = {name: (generator, settings[name]) for name, generator in generators.items()}
            tallies = tallies_of_workers(context.workers, context.store, sample, opened, options.threads, advance)
        evaluation = evaluate(
            task,
            sample,
            {name: generate_with(generator, settings[name]) for name, generator in generators.items()},
            references=references,
            progress=advance,
            tallies=tallies,
            count_tokens={name: counts_tokens(generators[name]) for name in set(references.values())},
        )
        measured_at = datetime.now(UTC).isoformat(timespec="seconds")
        unrecorded: dict[str, SlimseqError] = {}
        for name in keep:
            generator = generators[name]
            defaults = generator.manifest.generation
            pinned = settings[name].model_dump() | {
                "prefix": defaults.prefix if options.prefix is None else options.prefix,
                "max_input_tokens": generator.max_input_tokens,
            }
            scores = evaluation.quality_scores(
                name,
                runtime=generator.runtime.name,
                cpu_flags=cpu_flags(),
                measured_at=measured_at,
                generation=pinned,
                reference=generators[references[name]].manifest.digest if name in references else None,
            )
            try:
                record(context.store, generator.manifest, scores)
                write_card(context.store.folder(task, name), context.store.manifest(task, name))
            except SlimseqError as error:
                unrecorded[name] = error
        if options.outputs is not None:
            of_each = {
                name: ScoredVariant(
                    digest=generator.manifest.digest,
                    reference=references.get(name),
                    runtime=generator.runtime.name,
                    generation=settings[name].model_dump(),
                )
                for name, generator in generators.items()
            }
            header = OutputsHeader(
                task=task,
                dataset=evaluation.dataset,
                split=evaluation.split,
                samples=evaluation.samples,
                cpu_flags=cpu_flags(),
                measured_at=measured_at,
                variants=of_each,
            )
            texts = {each.variant: each.hypotheses for each in evaluation.variants}
            write_outputs(options.outputs, header, sample.examples, texts)
    if unrecorded:
        raise NotRecorded(evaluation, unrecorded)
    return evaluation


def references_among(store: Store, task: Task, variants: Sequence[str]) -> dict[str, str]:
    """Returns the names of variants' references, and of these themselves, where the store has them.

    Raises:
        UnknownVariant, InvalidArtifact: a variant's manifest cannot be read.
    """
    manifests = store.manifests(task)
    found: dict[str, str] = {}
    for name in variants:
        root = root_of(store.manifest(task, name), manifests)
        if root is not None:
            found |= {name: root.variant, root.variant: root.variant}
    return found


def with_references(variants: Sequence[str], references: Mapping[str, str]) -> list[str]:
    """Returns variants' names, each once, with the reference of each before it where it is not among them."""
    names = list(dict.fromkeys(variants))
    for name in list(names):
        reference = references.get(name, name)
        if reference not in names:
            names.insert(names.index(name), reference)
    return names


GATE_FAILED = 2


def command(
    task: TaskArgument,
    variants: VariantsArgument = None,
    /,
    *,
    options: EvaluateOptions = EvaluateOptions(),
    num_beams: Annotated[
        int | None,
        POSITIVE,
        Parameter(group=COMMON, help="Number of beams for beam search. By default the artifact's."),
    ] = None,
    min_retention: Annotated[
        float | None,
        Parameter(
            group=COMMON,
            validator=Number(gte=0, lte=1),
            help="Exit with code 2 if a variant has a lower retention of ROUGE-L or BLEU.",
        ),
    ] = None,
    is_recorded: RecordOption = False,
    store: StoreOption = None,
    workers: WorkersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Evaluate variants on the same samples in the same run, with 95 % intervals and retention.

    Retention is relative to each variant's reference, the model that its lineage starts from, which is evaluated too.
    """
    context = open_context(store, workers=workers) if is_recorded else reading_context(store, workers)
    names = chosen_variants(context, task, variants)
    if min_retention is not None:
        references = references_among(context.store, task, names)
        if lost := [name for name in names if name not in references]:
            raise BadParameters(
                f"--min-retention: the reference of {task}/{lost[0]} is not in the store; import it again"
            )
    options = replace(options, generation={"num_beams": num_beams})
    unrecorded: NotRecorded | None = None
    with context.working(f"evaluate {task}"):
        try:
            evaluation = evaluate_variants(context, task, names, options, keep=names if is_recorded else ())
        except NotRecorded as error:
            unrecorded, evaluation = error, error.evaluation
    if as_json:
        print_json(evaluation.model_dump(mode="json"))
    else:
        print_table(table_of(evaluation))
        print_table(agreement_table_of(evaluation))
        for line in lowest_slice_lines(evaluation):
            print_line(line)
        for metric in evaluation.variants[0].metrics:
            print_line(f"{metric.metric}: {metric.signature}")
        if not is_recorded:
            print_line("The scores were not recorded. --record writes them into the manifests, for /quality.")
        words = ("benchmark", task.value, *names, "--record")
        print_line(f"Next, measure their speed, which `?min_retention=` needs: {command_line(context, *words)}")
    if min_retention is not None:
        failed = below(evaluation, min_retention)
        for name, kept in failed.items():
            of = f"of {evaluation.variant(name).reference}"
            context.say(
                f"{task}/{name} keeps {kept:.4f} {of}, below {min_retention}"
                if kept is not None
                else f"{task}/{name} has no retention {of}, which scores 0"
            )
        if failed and unrecorded is None:
            sys.exit(GATE_FAILED)
    if unrecorded is not None:
        raise unrecorded


def below(evaluation: Evaluation, limit: float) -> dict[str, float | None]:
    """Returns the variants whose retention of the task's primary metric is below a limit or unknown, with it."""
    kept = {each.variant: each.metric(PRIMARY_METRIC[Task(evaluation.task)]).retention for each in evaluation.variants}
    return {name: value for name, value in kept.items() if value is None or value < limit}
