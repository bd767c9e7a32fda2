"""`evaluate`, `calibrate-confidence` and `benchmark`: what variants keep, and how fast they are."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from slimseq.cli.arguments import (
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
from slimseq.cli.next_step import command_line, serving_line
from slimseq.cli.tables import agreement_table_of, calibration_table_of, lowest_slice_lines, table_of
from slimseq.compression.calibrate_confidence import CalibrationOptions, calibrate_variants
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.measure_quality import (
    EvaluateOptions,
    below,
    evaluate_variants,
    record_scores,
    references_among,
)
from slimseq.compression.measure_speed import BenchmarkOptions, benchmark_variants, record_speeds, tune
from slimseq.compression.options import COMMON, POSITIVE
from slimseq.models_store.manifest import Task

GATE_FAILED = 2
SIZE = Parameter.combine(POSITIVE, Parameter(group=COMMON))


def evaluate_command(
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
    with context.working(f"evaluate {task}"):
        found = evaluate_variants(context, task, names, options)
    evaluation = found.evaluation
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
    if is_recorded:
        record_scores(context, found, names)
    if min_retention is not None:
        failed = below(evaluation, min_retention)
        for name, kept in failed.items():
            of = f"of {evaluation.variant(name).reference}"
            context.say(
                f"{task}/{name} keeps {kept:.4f} {of}, below {min_retention}"
                if kept is not None
                else f"{task}/{name} has no retention {of}, which scores 0"
            )
        if failed:
            sys.exit(GATE_FAILED)


def calibrate_command(
    task: TaskArgument,
    variants: VariantsArgument = None,
    /,
    *,
    options: CalibrationOptions = CalibrationOptions(),
    is_recorded: RecordOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate the confidence of translations: fit a map from mean log-probability to expected quality on dev data.

    Quality is chrF / 100. The table says how well log-probabilities order outputs (Spearman's and Pearson's
    correlation, with 95 % intervals), and the expected calibration error on held-out samples.
    """
    context = open_context(store) if is_recorded else reading_context(store)
    names = chosen_variants(context, task, variants)
    found = calibrate_variants(context, task, names, options, is_recorded)
    if as_json:
        print_json({name: each.model_dump(mode="json") for name, each in found.items()})
        return
    print_table(calibration_table_of(task, found))
    if not is_recorded:
        print_line("Nothing was recorded. --record writes it into the manifests; answers then have a confidence.")


def benchmark_command(
    task: TaskArgument,
    variants: VariantsArgument = None,
    /,
    *,
    options: BenchmarkOptions = BenchmarkOptions(),
    samples: Annotated[
        int | None, SIZE, Parameter(help="Number of texts to generate from. By default 16, or 64 with --tune.")
    ] = None,
    batch: Annotated[int | None, SIZE, Parameter(help="Batch size. By default 1, or 16 with --tune.")] = None,
    is_recorded: RecordOption = False,
    is_tuned: Annotated[
        bool,
        Parameter(
            name="--tune",
            group=COMMON,
            negative="",
            help="Find the fastest number of workers and threads for this machine on every runtime, and write them "
            "into the manifests, where the service reads them.",
        ),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure latency and throughput of variants, taking turns so that noise hits all alike.

    The speed-up is relative to each variant's reference, the model that its lineage starts from, where that is among
    the measured variants.
    """
    context = open_context(store) if is_recorded or is_tuned else reading_context(store)
    names = chosen_variants(context, task, variants)
    if is_tuned:
        _refuse(("--new-tokens", options.new_tokens), ("--threads", options.threads), ("--record", is_recorded))
        _tune(context, task, names, replace(options, samples=samples or 64, batch=batch or 16), as_json)
        return
    options = replace(options, samples=samples or options.samples, batch=batch or options.batch)
    with context.working(f"benchmark {task}: {', '.join(names)}"):
        manifests = [context.store.manifest(task, name) for name in names]
        measured = benchmark_variants(context, task, names, options)
        record_speeds(context, manifests if is_recorded else (), measured)
    if as_json:
        print_json({name: performance.model_dump(mode="json") for name, performance in measured.items()})
        return
    references = references_among(context.store, task, names)
    title = f"{task}, batch {options.batch}, {options.samples} texts, {options.repeats} repeats"
    table = Table("variant", "beams", "tokens/s", "speed-up", "p50 ms", "p95 ms", "p99 ms", "resident MB", title=title)
    for name, each in measured.items():
        reference = measured.get(references.get(name, ""))
        table.add_row(
            name,
            str(each.num_beams),
            f"{each.tokens_per_second:.0f}",
            f"{each.tokens_per_second / reference.tokens_per_second:.2f}" if reference else "",
            *(f"{value:.1f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms)),
            f"{each.resident_bytes / 1e6:.0f}",
        )
    print_table(table)
    words = ("benchmark", task.value, *names, "--tune")
    print_line(f"Next, find this machine's best threads and workers: {command_line(context, *words)}")
    print_line(f"Or serve them: {serving_line(context)}")


def _refuse(*given: tuple[str, object]) -> None:
    for name, value in given:
        if value:
            raise BadParameters(f"{name} has no effect with --tune; leave it out")


def _tune(context: Context, task: Task, names: Sequence[str], options: BenchmarkOptions, as_json: bool) -> None:
    with context.working(f"tune {task}"):
        measured = {name: tune(context, task, name, options) for name in names}
    if as_json:
        print_json({name: [each.model_dump(mode="json") for each in layouts] for name, layouts in measured.items()})
        return
    title = f"{task}, {options.samples} texts in batches of {options.batch}, {options.repeats} repeats"
    table = Table("variant", "runtime", "workers", "threads", "tokens/s", "ratio", title=title)
    for name, layouts in measured.items():
        for each in layouts:
            ratio = each.tokens_per_second / layouts[0].tokens_per_second
            cells = (
                each.runtime,
                str(each.workers),
                str(each.threads),
                f"{each.tokens_per_second:.0f}",
                f"{ratio:.2f}",
            )
            table.add_row(name, *cells, end_section=each is layouts[-1])
    print_table(table)
    for name, layouts in measured.items():
        best = layouts[0]
        print_line(
            f"Chosen for {task}/{name}: {best.runtime} with {best.workers} workers of {best.threads} threads. It is in "
            "the manifest; the service takes it when it starts."
        )
