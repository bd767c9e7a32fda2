"""`evaluate`: quality of variants, on the runtime that serves them."""

import sys
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from slimseq.compression.commands.next_step import command_line
from slimseq.compression.commands.options import (
    JsonOption,
    RecordOption,
    StoreOption,
    TaskArgument,
    VariantsArgument,
    chosen_variants,
    open_context,
    print_json,
    print_line,
    print_table,
    reading_context,
)
from slimseq.compression.errors import BadParameters
from slimseq.compression.evaluate import EvaluateOptions, evaluate_variants, references_among
from slimseq.compression.option_groups import COMMON
from slimseq.compression.timed_texts import POSITIVE
from slimseq.evaluation.metrics import metrics_for
from slimseq.evaluation.results import Evaluation
from slimseq.models_store.manifest import Task

GATE_FAILED = 2


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
    as_json: JsonOption = False,
) -> None:
    """Evaluate variants on the same samples in the same run, with 95 % intervals and retention.

    Retention is relative to each variant's reference, the model that its lineage starts from, which is evaluated too.
    """
    context = open_context(store) if is_recorded else reading_context(store)
    names = chosen_variants(context, task, variants)
    if min_retention is not None:
        references = references_among(context.store, task, names)
        if lost := [name for name in names if name not in references]:
            raise BadParameters(
                f"--min-retention: the reference of {task}/{lost[0]} is not in the store; import it again"
            )
    options = replace(options, generation={"num_beams": num_beams})
    with context.working(f"evaluate {task}"):
        evaluation = evaluate_variants(context, task, names, options, keep=names if is_recorded else ())
    if as_json:
        print_json(evaluation.model_dump(mode="json"))
    else:
        print_table(table_of(evaluation))
        print_table(agreement_table_of(evaluation))
        for metric in evaluation.variants[0].metrics:
            print_line(f"{metric.metric}: {metric.signature}")
        if not is_recorded:
            print_line("Nothing was recorded: with --record the manifests have these scores, which /quality shows.")
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
        if failed:
            sys.exit(GATE_FAILED)


def below(evaluation: Evaluation, limit: float) -> dict[str, float | None]:
    """Returns the variants whose retention of the task's primary metric is below a limit or unknown, with it."""
    from slimseq.evaluation.metrics import PRIMARY_METRIC

    kept = {each.variant: each.metric(PRIMARY_METRIC[Task(evaluation.task)]).retention for each in evaluation.variants}
    return {name: value for name, value in kept.items() if value is None or value < limit}


def table_of(evaluation: Evaluation) -> Table:
    """Returns the results as a table for people, the trivial baseline in the last row."""
    title = f"{evaluation.task} on {evaluation.dataset} ({evaluation.split}), {evaluation.samples} samples"
    metrics = metrics_for(evaluation.task)
    table = Table("variant", "reference", *metrics, "tokens/s", "truncated", title=title)
    for variant in evaluation.variants:
        cells = []
        for metric in map(variant.metric, metrics):
            cell = f"{metric.value:.2f} [{metric.interval[0]:.2f}, {metric.interval[1]:.2f}]"
            if metric.retention is not None and metric.retention_interval is not None:
                low, high = metric.retention_interval
                cell += f"\nkeeps {metric.retention:.3f} [{low:.3f}, {high:.3f}]"
            cells.append(cell)
        table.add_row(
            variant.variant, variant.reference or "", *cells, f"{variant.tokens_per_second:.0f}", str(variant.truncated)
        )
    baseline = evaluation.baseline
    table.add_row(baseline.name, "", *(f"{baseline.values[metric]:.2f}" for metric in metrics), "", "")
    return table


def agreement_table_of(evaluation: Evaluation) -> Table:
    """Returns a table of the agreement with the reference's outputs, and how much summaries copy."""
    judged = metrics_for(evaluation.task)
    described = [each.metric for each in evaluation.variants[0].metrics if each.metric not in judged]
    table = Table("variant", "equal outputs", "similarity", *described, title="Agreement with the reference's outputs")
    for variant in evaluation.variants:
        found = variant.agreement
        cells = ["", ""]
        if found is not None:
            low, high = found.interval
            cells = [f"{found.exact:.3f}", f"{found.similarity:.3f} [{low:.3f}, {high:.3f}]"]
        table.add_row(variant.variant, *cells, *(f"{variant.metric(name).value:.2f}" for name in described))
    if described:
        values = evaluation.baseline.values
        table.add_row(evaluation.baseline.name, "", "", *(f"{values[name]:.2f}" for name in described))
    return table
