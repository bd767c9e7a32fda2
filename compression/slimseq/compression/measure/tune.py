"""Finds how a variant best shares out this machine's cores, on every runtime that serves it without torch."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.measure.benchmark import BenchmarkOptions
from slimseq.evaluation.benchmark import measure_layouts
from slimseq.evaluation.fastest import even_layouts
from slimseq.evaluation.host import available_cores, cpu_flags, host_name
from slimseq.inference.generator import open_generator, possible_runtimes
from slimseq.models_store.manifest import MeasuredLayout, Task


def tune(context: Context, task: Task, variant: str, options: BenchmarkOptions) -> list[MeasuredLayout]:
    """Measures the layouts of one variant, and keeps them in its manifest, from where the service takes the fastest.

    Args:
        context: the store, and where progress goes.
        task: the variant's task.
        variant: its name.
        options: texts and settings: enough texts for several workers, in batches that keep them busy.

    Returns:
        What was measured, the fastest first.

    Raises:
        BadParameters: no runtime but torch can open the variant.
        UnknownVariant, CorruptArtifact, RuntimeUnavailable: it cannot be opened.
        DatasetUnavailable: the texts cannot be read.
    """
    texts = options.texts(task)
    kinds = possible_runtimes(context.store, task, variant, options.runtime)
    runtimes = [kind.name for kind in kinds if not kind.needs_torch]
    if not runtimes:
        raise BadParameters(f"{task}/{variant} has no runtime but torch, which takes its threads for the whole process")
    layouts = even_layouts(available_cores())
    measured = []
    for runtime in runtimes:
        context.say(f"Tuning {task}/{variant} on {runtime}, {len(layouts)} layouts")
        with ExitStack() as stack, context.working(f"tune {task}/{variant} on {runtime}"):
            generators = {
                layout: stack.enter_context(
                    open_generator(context.store, task, variant, runtime, layout.threads, layout.workers)
                )
                for layout in layouts
            }
            settings = generators[layouts[0]].manifest.generation.options(num_beams=options.num_beams)
            speeds = measure_layouts(generators, texts, settings, options.batch, options.repeats)
        measured += [
            MeasuredLayout(
                host=host_name(),
                cpu_flags=cpu_flags(),
                cores=available_cores(),
                runtime=runtime,
                workers=layout.workers,
                threads=layout.threads,
                batch=options.batch,
                num_beams=settings.num_beams,
                tokens_per_second=speed,
                measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            for layout, speed in speeds.items()
        ]
    _keep(context, task, variant, measured)
    return sorted(measured, key=lambda each: -each.tokens_per_second)


def _keep(context: Context, task: Task, variant: str, measured: Sequence[MeasuredLayout]) -> None:
    """Writes measurements into the manifest, in place of all earlier ones of such a machine and these runtimes."""
    manifest = context.store.manifest(task, variant)
    replaced = {_place(each) for each in measured}
    kept = [each for each in manifest.layouts if _place(each) not in replaced]
    context.store.rewrite_manifest(manifest.model_copy(update={"layouts": [*kept, *measured]}))


def _place(each: MeasuredLayout) -> tuple[tuple[str, ...], int, str]:
    return tuple(sorted(each.cpu_flags)), each.cores, each.runtime
