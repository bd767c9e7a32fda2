"""`benchmark`: speed of variants, interleaved, in one process."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from slimseq.compression.commands.next_step import command_line, serving_line
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
from slimseq.models_store.manifest import Task

if TYPE_CHECKING:
    from slimseq.compression.context import Context


def benchmark_command(
    task: TaskArgument,
    variants: Annotated[list[str] | None, typer.Argument(help="Variants; none means all of the task.")] = None,
    dataset: Annotated[str, typer.Option("--data", help="`sample` (bundled), a hub data set's name, or a file.")] = (
        "sample"
    ),
    samples: Annotated[
        int | None, typer.Option(help="Texts to generate from; 16, or 64 to tune.", min=1, show_default=False)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Texts generated at once; 1, or 16 to tune.", min=1, show_default=False)
    ] = None,
    repeats: Annotated[int, typer.Option(help="How often each batch is timed.", min=1)] = 3,
    num_beams: Annotated[int | None, typer.Option(help="Beams, instead of each artifact's default.", min=1)] = None,
    new_tokens: Annotated[
        int | None,
        typer.Option(help="Output tokens of every text, so that all variants do equal work.", min=1, max=1024),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime, ctranslate2 or torch; by default the one that serves.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the runtime; 0 lets it choose.", min=0)] = 0,
    keep: Annotated[bool, typer.Option("--record", help="Write the figures into the variants' manifests.")] = False,
    tuned: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Find the fastest workers and threads for this machine on every runtime, and write them into the "
            "manifests, from where the service takes them.",
        ),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure latency and throughput of variants, taking turns so that noise hits all alike.

    The speed-up is relative to each variant's reference, the model that its lineage starts from, where that is among
    the measured variants.
    """
    from slimseq.compression.benchmark import BenchmarkOptions, benchmark_variants
    from slimseq.compression.evaluate import references_among

    context = open_context(store) if keep or tuned else reading_context(store)
    names = chosen_variants(context, task, variants)
    given = {"samples": samples, "batch": batch, "repeats": repeats, "num_beams": num_beams, "runtime": runtime}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None} | {"dataset": dataset}
    if tuned:
        _refuse(("--new-tokens", new_tokens), ("--threads", threads), ("--record", keep))
        _tune(context, task, names, chosen, as_json)
        return
    options = BenchmarkOptions(**chosen, new_tokens=new_tokens, threads=threads)
    with context.working(f"benchmark {task}: {', '.join(names)}"):
        measured = benchmark_variants(context, task, names, options, keep)
    if as_json:
        print_json({name: performance.model_dump(mode="json") for name, performance in measured.items()})
        return
    references = references_among(context.store, task, names)
    title = f"{task}, batch {options.batch}, {options.samples} texts, {repeats} repeats"
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
            raise typer.BadParameter(f"{name} says nothing where --tune finds out")


def _tune(context: "Context", task: Task, names: Sequence[str], chosen: dict[str, Any], as_json: bool) -> None:
    from slimseq.compression.tune import TuneOptions, tune

    options = TuneOptions(**chosen)
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
