"""`benchmark`: speed of variants, interleaved, in one process."""

from contextlib import ExitStack
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
from models_store.manifest import Performance


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
    runtime: Annotated[str | None, typer.Option(help="onnxruntime or torch; by default the one that serves.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the runtime; 0 lets it choose.", min=0)] = 0,
    keep: Annotated[bool, typer.Option("--record", help="Write the figures into the variants' manifests.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Measure latency and throughput of variants, taking turns so that noise hits all alike."""
    from evaluation.benchmark import compare
    from evaluation.datasets import load_examples
    from evaluation.host import resident_bytes
    from models_store.generator import choose_runtime, open_generator

    context = open_context(store)
    names = variants or context.store.variants(task)
    texts = [example.source for example in load_examples(task, dataset, samples=samples).examples]
    with ExitStack() as stack:
        generators, resident = {}, {}
        for name in names:
            # Imported first, so that the first variant is not charged with its runtime's library.
            choose_runtime(context.store, task, name, runtime).opener()
            before = resident_bytes()
            generators[name] = stack.enter_context(open_generator(context.store, task, name, runtime, threads))
            resident[name] = max(0, resident_bytes() - before)
        settings = generators[names[0]].manifest.generation.options(num_beams=num_beams)
        measured = compare(generators, texts, settings, batch, repeats, threads=threads, resident=resident)
    if keep:
        for name, performance in measured.items():
            manifest = context.store.manifest(task, name)
            kept = [each for each in manifest.performance if _setting(each) != _setting(performance)]
            context.store.rewrite_manifest(manifest.model_copy(update={"performance": [*kept, performance]}))
    if as_json:
        print_json({name: performance.model_dump(mode="json") for name, performance in measured.items()})
        return
    title = f"{task}, batch {batch}, {settings.num_beams} beams, {len(texts)} texts, {repeats} repeats"
    table = Table("variant", "tokens/s", "ratio", "p50 ms", "p95 ms", "p99 ms", "resident MB", title=title)
    first = measured[names[0]].tokens_per_second
    for name, each in measured.items():
        table.add_row(
            name,
            f"{each.tokens_per_second:.0f}",
            f"{each.tokens_per_second / first:.2f}",
            *(f"{value:.1f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms)),
            f"{each.resident_bytes / 1e6:.0f}",
        )
    Console().print(table)


def _setting(performance: Performance) -> tuple[str, str, int, int, int]:
    return (
        performance.host,
        performance.runtime,
        performance.batch,
        performance.num_beams,
        performance.threads,
    )
