"""`evaluate`: quality of variants, on the runtime that serves them."""

from typing import Annotated

import typer
from rich.table import Table

from slimseq.compression.commands.next_step import command_line
from slimseq.compression.commands.options import (
    JsonOption,
    StoreOption,
    TaskArgument,
    chosen_variants,
    open_context,
    print_json,
    print_line,
    print_table,
    reading_context,
)
from slimseq.evaluation.results import Evaluation
from slimseq.models_store.manifest import Task

GATE_FAILED = 2


def evaluate_command(
    task: TaskArgument,
    variants: Annotated[list[str] | None, typer.Argument(help="Variants; none means all of the task.")] = None,
    dataset: Annotated[
        str, typer.Option("--data", help="`sample` (bundled), cnn_dailymail, wmt14-de-en, or a file.")
    ] = "sample",
    samples: Annotated[int | None, typer.Option(help="Only the first so many.", min=1)] = None,
    split: Annotated[str, typer.Option(help="Split of a hub data set.")] = "test",
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime, ctranslate2 or torch; by default the one that serves.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the runtime; 0 lets it choose.", min=0)] = 0,
    num_beams: Annotated[int | None, typer.Option(help="Beams, instead of the artifacts' default.", min=1)] = None,
    prefix: Annotated[str | None, typer.Option(help="Put before every source, instead of the default.")] = None,
    min_retention: Annotated[
        float | None, typer.Option(help="Exit with 2 if a variant keeps less of ROUGE-L or BLEU.", min=0, max=1)
    ] = None,
    keep: Annotated[bool, typer.Option("--record", help="Write the scores into the variants' manifests.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate variants on the same samples in the same run, with 95 % intervals and retention.

    Retention is relative to each variant's reference, the model that its lineage starts from, which is evaluated too.
    """
    from slimseq.compression.errors import BadParameters
    from slimseq.compression.evaluate import EvaluateOptions, evaluate_variants, references_among

    context = open_context(store) if keep else reading_context(store)
    names = chosen_variants(context, task, variants)
    if min_retention is not None:
        references = references_among(context.store, task, names)
        if lost := [name for name in names if name not in references]:
            raise BadParameters(
                f"--min-retention: the reference of {task}/{lost[0]} is not in the store; import it again"
            )
    options = EvaluateOptions(
        dataset=dataset,
        samples=samples,
        split=split,
        runtime=runtime,
        threads=threads,
        generation={"num_beams": num_beams},
        prefix=prefix,
    )
    with context.working(f"evaluate {task}"):
        evaluation = evaluate_variants(context, task, names, options, keep=names if keep else ())
    if as_json:
        print_json(evaluation.model_dump(mode="json"))
    else:
        print_table(table_of(evaluation))
        for metric in evaluation.variants[0].metrics:
            print_line(f"{metric.metric}: {metric.signature}")
        if not keep:
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
            raise typer.Exit(GATE_FAILED)


def below(evaluation: Evaluation, limit: float) -> dict[str, float | None]:
    """Returns the variants whose retention of the task's primary metric is below a limit or unknown, with it."""
    from slimseq.evaluation.metrics import PRIMARY_METRIC

    kept = {each.variant: each.metric(PRIMARY_METRIC[Task(evaluation.task)]).retention for each in evaluation.variants}
    return {name: value for name, value in kept.items() if value is None or value < limit}


def table_of(evaluation: Evaluation) -> Table:
    """Returns the results as a table for people, the trivial baseline in the last row."""
    title = f"{evaluation.task} on {evaluation.dataset} ({evaluation.split}), {evaluation.samples} samples"
    metrics = [metric.metric for metric in evaluation.variants[0].metrics]
    table = Table("variant", "reference", *metrics, "tokens/s", "truncated", title=title)
    for variant in evaluation.variants:
        cells = []
        for metric in variant.metrics:
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
