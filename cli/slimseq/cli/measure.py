"""`evaluate`, `benchmark` and `report`: what variants keep, and how fast they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from rich.table import Table

from slimseq.cli.arguments import (
    FLAG,
    RecordOption,
    Shared,
    TaskArgument,
    VariantsArgument,
    WorkersOption,
    chosen_variants,
    command_line,
)
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.measure_quality import (
    EvaluateOptions,
    evaluate_variants,
    record_scores,
    references_among,
)
from slimseq.compression.measure_speed import BenchmarkOptions, benchmark_variants, record_speeds, tune_variant
from slimseq.compression.options import POSITIVE
from slimseq.compression.report.facts import facts_of
from slimseq.compression.report.number_format import bounded, p_value
from slimseq.compression.report.readme import block, check_readme, update_readme
from slimseq.evaluation.gate import baseline_warning
from slimseq.evaluation.metrics import METRICS, PRIMARY_METRIC
from slimseq.evaluation.results import EvaluationResult
from slimseq.evaluation.significance import MIN_SAMPLES
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import MeasuredLayout, Performance


def evaluate_command(
    task: TaskArgument,
    variants: VariantsArgument = None,
    /,
    *,
    options: EvaluateOptions = EvaluateOptions(),
    num_beams: Annotated[int | None, POSITIVE] = None,
    record: RecordOption = False,
    shared: Shared = Shared(),
    workers: WorkersOption = 1,
) -> None:
    """Evaluate variants on the same samples in the same run, with 95 % intervals and retention.

    Retention is relative to each variant's reference, the model that its lineage starts from, which is evaluated too.

    A variant is not evaluated on a file that it was trained on, and scores of fewer than 30 pairs are not recorded.

    Dev data (a file `dev.jsonl`, or `--split validation`) also fits the confidence of translations: --record keeps it,
    and the answers of a service then have it.

    Args:
        num_beams: Number of beams for beam search. By default the artifact's.
    """
    context = shared.writing(workers=workers) if record else shared.reading(workers)
    names = chosen_variants(context, task, variants)
    with context.working(f"evaluate {task}"):
        chosen = replace(options, generation={"num_beams": num_beams})
        found = evaluate_variants(context, task, names, chosen, will_be_recorded=record)
    evaluation = found.evaluation
    confidences = (
        f"Confidence of the outputs of {name}: rank correlation with their quality "
        f"{bounded(each.spearman, each.spearman_interval)}, calibration error {each.calibration_error:.3f}"
        for name, each in found.confidences.items()
    )
    # A speed-up needs the base model in the same run.
    words = ("benchmark", task.value, *found.manifests, "--record")
    remarks = [f"{metric.metric}: {metric.signature}" for metric in evaluation.variants[0].metrics]
    remarks += [f"Warning: {warning}." for warning in useless_bases(evaluation)]
    if not record:
        remarks.append("Nothing was recorded. --record writes it into the manifests, for /quality.")
    shared.show(
        evaluation.model_dump(mode="json"),
        score_table(evaluation),
        _agreement_table(evaluation),
        *confidences,
        *remarks,
        f"Next, measure their speed, which `?min_retention=` needs: {command_line(context, *words)}",
    )
    if record:
        record_scores(context, found, names)


def useless_bases(evaluation: EvaluationResult) -> list[str]:
    """Returns a warning for each base model that scores no more than the trivial baseline, of the primary metric."""
    bases = dict.fromkeys(each.reference for each in evaluation.variants if each.reference is not None)
    metric = PRIMARY_METRIC[evaluation.task]
    found = [
        baseline_warning(evaluation.task, base, evaluation.variant(base).metric(metric), is_base=True) for base in bases
    ]
    return [warning for warning in found if warning is not None]


def score_table(evaluation: EvaluationResult) -> Table:
    title = f"{evaluation.task} on {evaluation.dataset} ({evaluation.split}), {evaluation.samples} samples"
    title += ", too few to compare variants" if evaluation.samples < MIN_SAMPLES else ""
    metrics = METRICS[Task(evaluation.task)]
    table = Table("variant", "reference", *metrics, "tokens/s", "truncated", title=title)
    for variant in evaluation.variants:
        cells = []
        for metric in map(variant.metric, metrics):
            lines = [bounded(metric.value, metric.interval, 2)]
            if metric.retention is not None:
                lines.append(f"keeps {bounded(metric.retention, metric.retention_interval)}")
            if metric.p_value is not None:
                lines.append(f"p {p_value(metric.p_value)}")
            cells.append("\n".join(lines))
        speed = f"{variant.tokens_per_second:.0f}"
        table.add_row(variant.variant, variant.reference or "", *cells, speed, str(variant.truncated))
    baseline = evaluation.baseline
    table.add_row(baseline.name, "", *(f"{baseline.values[metric]:.2f}" for metric in metrics), "", "")
    return table


def _agreement_table(evaluation: EvaluationResult) -> Table:
    table = Table("variant", "equal outputs", "similarity", title="Agreement with the reference's outputs")
    for variant in evaluation.variants:
        found = variant.agreement
        cells = (f"{found.exact:.3f}", bounded(found.similarity, found.interval)) if found else ("", "")
        table.add_row(variant.variant, *cells)
    return table


def benchmark_command(
    task: TaskArgument,
    variants: VariantsArgument = None,
    /,
    *,
    options: BenchmarkOptions = BenchmarkOptions(),
    record: RecordOption = False,
    tune: Annotated[bool, FLAG] = False,
    shared: Shared = Shared(),
) -> None:
    """Measure latency and throughput of variants, taking turns so that noise hits all alike.

    The speed-up is relative to each variant's reference, the model that its lineage starts from, where that is among
    the measured variants on the same runtime.

    Args:
        tune: Find the fastest number of workers and threads for this machine on every runtime, and write them into the
            manifests, where the service reads them.
    """
    context = shared.writing() if record or tune else shared.reading()
    names = chosen_variants(context, task, variants)
    if tune:
        given = {"--new-tokens": options.new_tokens, "--threads": options.threads, "--record": record}
        unused = [name for name, value in given.items() if value]
        if unused:
            raise BadParameters(f"{unused[0]} has no effect with --tune; leave it out")
        _tune(context, task, names, options, shared)
        return
    with context.working(f"benchmark {task}: {', '.join(names)}"):
        manifests = [context.store.manifest(task, name) for name in names]
        measured = benchmark_variants(context, task, names, options)
        record_speeds(context, manifests if record else (), measured)
    words = ("benchmark", task.value, *names, "--tune")
    shared.show(
        {name: performance.model_dump(mode="json") for name, performance in measured.items()},
        _speed_table(task, measured, options),
        *without_speed_up(measured, references_among(context.store, task, names)),
        f"Next, find this machine's best threads and workers: {command_line(context, *words)}",
        f"Or serve them: {command_line(context, 'serve')}",
    )


def _speed_table(task: Task, measured: Mapping[str, Performance], options: BenchmarkOptions) -> Table:
    title = f"{task}, batch {options.batch or 1}, {options.repeats} repeats"
    table = Table("variant", "beams", "tokens/s", "speed-up", "p50 ms", "p95 ms", "p99 ms", "resident MB", title=title)
    for name, each in measured.items():
        base = each.reference_tokens_per_second
        ratio = f"{each.tokens_per_second / base:.2f}" if base else ""
        milliseconds = (f"{value:.1f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms))
        speed, resident = f"{each.tokens_per_second:.0f}", f"{each.resident_bytes / 1e6:.0f}"
        table.add_row(name, str(each.num_beams), speed, ratio, *milliseconds, resident)
    return table


def without_speed_up(measured: Mapping[str, Performance], references: Mapping[str, str]) -> list[str]:
    """Says why variants have no speed-up."""
    reasons = []
    for name, each in measured.items():
        reference = references.get(name)
        if each.reference_tokens_per_second or reference is None:
            continue
        if reference not in measured:
            reasons.append(f"{name} has no speed-up: its base model {reference} was not measured in this run.")
            continue
        reasons.append(
            f"{name} has no speed-up: it was measured on {each.runtime} and its base model {reference} on "
            f"{measured[reference].runtime}. --runtime measures both on one."
        )
    return reasons


def _tune(context: Context, task: Task, names: Sequence[str], options: BenchmarkOptions, shared: Shared) -> None:
    with context.working(f"tune {task}"):
        measured: dict[str, list[MeasuredLayout]] = {name: tune_variant(context, task, name, options) for name in names}
    title = f"{task}, batch {options.batch or 16}, {options.repeats} repeats"
    table = Table("variant", "runtime", "workers", "threads", "tokens/s", "ratio", title=title)
    for name, layouts in measured.items():
        for each in layouts:
            # The first layout is the fastest one.
            ratio = each.tokens_per_second / layouts[0].tokens_per_second
            table.add_row(
                name,
                each.runtime,
                str(each.workers),
                str(each.threads),
                f"{each.tokens_per_second:.0f}",
                f"{ratio:.2f}",
                end_section=each is layouts[-1],
            )
    chosen = (
        f"Chosen for {task}/{name}: {best.runtime} with {best.workers} workers of {best.threads} threads. It is in the "
        "manifest; the service takes it when it starts."
        for name, (best, *_) in measured.items()
    )
    found = {name: [each.model_dump(mode="json") for each in layouts] for name, layouts in measured.items()}
    shared.show(found, table, *chosen)


def report_command(
    tasks: list[Task] | None = None,
    /,
    *,
    readme: list[Path] | None = None,
    metric: Literal["bleu", "chrf", "chrf++", "rouge1", "rouge2", "rougeL", "rougeLsum"] | None = None,
    check: Annotated[bool, FLAG] = False,
    shared: Shared = Shared(),
) -> None:
    """Write Markdown tables of what the store's manifests record: size, speed, quality and gates of all variants.

    Tables in a file are the same on every machine: for derived artifacts they take what the store's derived.json
    records. Those on standard output show what the store holds.

    Args:
        tasks: Tasks. By default all in the store.
        readme: File to rewrite the tables in, between the report markers. Repeatable. By default standard output.
        metric: Metric of the scores, such as chrf. By default bleu for translation and rougeL for summarization.
        check: Only check the tables of --readme: exit 1 at the first difference.
    """
    if check and not readme:
        raise BadParameters("--check needs --readme")
    context = shared.reading()
    facts = facts_of(context.store, list(dict.fromkeys(tasks or ())), is_recorded=bool(readme), metric=metric)
    if not readme:
        tables = "\n".join(block(facts)).strip()
        return shared.show({"markdown": tables}, tables)
    found: dict[str, str] = {}
    for path in readme:
        if check:
            check_readme(path, facts)
            found[str(path)] = "as the manifests say"
        else:
            found[str(path)] = "rewritten" if update_readme(path, facts) else "unchanged"
    shared.show(found, *(f"{path}: {done}" for path, done in found.items()))
