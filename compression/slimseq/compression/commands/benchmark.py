"""`benchmark`: speed of variants, interleaved, in one process."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from slimseq.compression.benchmark import BenchmarkOptions, benchmark_variants
from slimseq.compression.commands.next_step import command_line, serving_line
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
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.option_groups import COMMON
from slimseq.compression.timed_texts import POSITIVE, TimedTexts
from slimseq.models_store.manifest import Task

SIZE = Parameter.combine(POSITIVE, Parameter(group=COMMON))


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
    from slimseq.compression.evaluate import references_among

    context = open_context(store) if is_recorded or is_tuned else reading_context(store)
    names = chosen_variants(context, task, variants)
    if is_tuned:
        _refuse(("--new-tokens", options.new_tokens), ("--threads", options.threads), ("--record", is_recorded))
        _tune(context, task, names, replace(options, samples=samples or 64, batch=batch or 16), as_json)
        return
    options = replace(options, samples=samples or options.samples, batch=batch or options.batch)
    with context.working(f"benchmark {task}: {', '.join(names)}"):
        measured = benchmark_variants(context, task, names, options, is_recorded)
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


def _tune(context: Context, task: Task, names: Sequence[str], options: TimedTexts, as_json: bool) -> None:
    from slimseq.compression.tune import tune

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
