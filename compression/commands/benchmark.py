"""`benchmark`: speed of variants, interleaved, in one process."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from compression.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    StoreOption,
    TaskArgument,
    open_context,
    print_json,
)


def benchmark_command(
    task: TaskArgument,
    variants: Annotated[list[str] | None, typer.Argument(help="Variants; none means all of the task.")] = None,
    dataset: Annotated[str, typer.Option("--data", help="`sample` (bundled), a hub data set's name, or a file.")] = (
        "sample"
    ),
    samples: Annotated[int, typer.Option(help="Texts to generate from.", min=1)] = 16,
    batch: Annotated[int, typer.Option(help="Texts generated at once.", min=1)] = 1,
    repeats: Annotated[int, typer.Option(help="How often each batch is timed.", min=1)] = 3,
    num_beams: Annotated[int | None, typer.Option(help="Beams, instead of the artifacts' default.", min=1)] = None,
    new_tokens: Annotated[
        int | None,
        typer.Option(help="Output tokens of every text, so that all variants do equal work.", min=1, max=1024),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime, ctranslate2 or torch; by default the one that serves.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the runtime; 0 lets it choose.", min=0)] = 0,
    keep: Annotated[bool, typer.Option("--record", help="Write the figures into the variants' manifests.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Measure latency and throughput of variants, taking turns so that noise hits all alike."""
    from compression.benchmark import BenchmarkOptions, benchmark_variants

    context = open_context(store)
    options = BenchmarkOptions(
        dataset=dataset,
        samples=samples,
        batch=batch,
        repeats=repeats,
        num_beams=num_beams,
        new_tokens=new_tokens,
        runtime=runtime,
        threads=threads,
    )
    names = variants or context.store.variants(task)
    measured = benchmark_variants(context, task, names, options, keep)
    if as_json:
        print_json({name: performance.model_dump(mode="json") for name, performance in measured.items()})
        return
    first = measured[names[0]]
    title = f"{task}, batch {batch}, {first.num_beams} beams, {samples} texts, {repeats} repeats"
    table = Table("variant", "tokens/s", "ratio", "p50 ms", "p95 ms", "p99 ms", "resident MB", title=title)
    for name, each in measured.items():
        table.add_row(
            name,
            f"{each.tokens_per_second:.0f}",
            f"{each.tokens_per_second / first.tokens_per_second:.2f}",
            *(f"{value:.1f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms)),
            f"{each.resident_bytes / 1e6:.0f}",
        )
    Console().print(table)
