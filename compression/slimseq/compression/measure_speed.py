"""`benchmark`: speed of variants, and with `--tune` the fastest number of workers and threads for this machine.

Variants take turns in one run, so that a machine's noise affects all of them equally.
"""

import gc
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.measure_quality import references_among
from slimseq.compression.options import COMMON, POSITIVE, flat
from slimseq.evaluation.benchmark import compare, measure_layouts
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.fastest import even_layouts
from slimseq.evaluation.host import available_cores, cpu_flags, host_name, resident_bytes, trim_memory
from slimseq.evaluation.recording import speed_setting
from slimseq.inference.generator import TextGenerator, open_generator, runtimes_for
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import MeasuredLayout, Performance

# Defaults of the options. Several workers need more texts, in batches that keep them busy.
BENCHMARK_TEXTS = 16
TUNING_TEXTS = 64
TUNING_BATCH = 16


@flat(COMMON)
@dataclass(frozen=True)
class BenchmarkOptions:
    """What to generate from, how, and how often."""

    dataset: Annotated[str, Parameter(name="--data")] = "sample"
    """Texts: `sample` (bundled), the name of a hub data set, or a file."""
    samples: Annotated[int | None, POSITIVE] = None
    """Number of texts to generate from. By default 16, or 64 with --tune."""
    batch: Annotated[int | None, POSITIVE] = None
    """Batch size. By default 1, or 16 with --tune."""
    repeats: Annotated[int, POSITIVE] = 3
    """How often each batch is timed."""
    num_beams: Annotated[int | None, POSITIVE] = None
    """Number of beams for beam search. By default each variant's own."""
    runtime: str | None = None
    """Runtime: onnxruntime, ctranslate2 or torch. By default the one that serves; --tune compares all of them."""
    new_tokens: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1024))] = None
    """Number of output tokens of every text, so that all variants do equal work. By default a text ends where the model
    ends it."""
    threads: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Number of threads of the runtime. 0 lets the runtime choose."""

    def texts(self, task: Task, samples: int) -> list[str]:
        found = load_examples(task, self.dataset, samples=self.samples or samples)
        return [example.source for example in found.examples]


def benchmark_variants(
    context: Context, task: Task, variants: Sequence[str], options: BenchmarkOptions
) -> dict[str, Performance]:
    """Measures latency and throughput. All variants have the first one's generation defaults, but their own beams.

    Each measurement has that of the variant's reference beside it, where that is among the variants on its runtime.
    """
    texts = options.texts(task, BENCHMARK_TEXTS)
    with ExitStack() as stack:
        generators: dict[str, TextGenerator] = {}
        resident: dict[str, int] = {}
        for name in variants:
            # The runtime's library is imported first, so that its memory does not count for the first variant.
            runtimes_for(context.store, context.store.manifest(task, name), options.runtime)[0].opener()
            # If memory that an earlier variant freed were used again, this variant would seem to need none.
            gc.collect()
            trim_memory()
            before = resident_bytes()
            opened = open_generator(context.store, task, name, options.runtime, options.threads)
            generators[name] = stack.enter_context(opened)
            resident[name] = max(0, resident_bytes() - before)
        first = generators[variants[0]].manifest.generation
        settings = {
            name: first.options(
                num_beams=options.num_beams or generator.manifest.generation.num_beams,
                min_new_tokens=options.new_tokens,
                max_new_tokens=options.new_tokens,
            )
            for name, generator in generators.items()
        }
        return compare(
            generators,
            texts,
            settings,
            options.batch or 1,
            options.repeats,
            threads=options.threads,
            resident=resident,
            bases=references_among(context.store, task, variants),
        )


def record_speeds(context: Context, manifests: Iterable[Manifest], found: Mapping[str, Performance]) -> None:
    """Writes measurements into the manifests of what was measured, in place of earlier ones of their setting."""
    for measured in manifests:
        new = found[measured.variant]

        def added(manifest: Manifest, new: Performance = new) -> Manifest:
            kept = [each for each in manifest.performance if speed_setting(each) != speed_setting(new)]
            return manifest.model_copy(update={"performance": [*kept, new]})

        context.store.update_manifest(measured, added)


def tune_variant(context: Context, task: Task, variant: str, options: BenchmarkOptions) -> list[MeasuredLayout]:
    """Measures the layouts of one variant, and keeps them in its manifest, from where the service takes the fastest.

    The options have enough texts for several workers, in batches that keep them busy. Returns what was measured, the
    fastest first.
    """
    texts, batch = options.texts(task, TUNING_TEXTS), options.batch or TUNING_BATCH
    opened = context.store.manifest(task, variant)
    kinds = runtimes_for(context.store, opened, options.runtime)
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
            speeds = measure_layouts(generators, texts, settings, batch, options.repeats)
        measured += [
            MeasuredLayout(
                host=host_name(),
                cpu_flags=cpu_flags(),
                cores=available_cores(),
                runtime=runtime,
                workers=layout.workers,
                threads=layout.threads,
                batch=batch,
                num_beams=settings.num_beams,
                tokens_per_second=speed,
                measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            for layout, speed in speeds.items()
        ]
    # The new layouts replace all earlier ones of such a machine and these runtimes.
    replaced = {_machine_and_runtime(each) for each in measured}

    def added(manifest: Manifest) -> Manifest:
        kept = [each for each in manifest.layouts if _machine_and_runtime(each) not in replaced]
        return manifest.model_copy(update={"layouts": [*kept, *measured]})

    context.store.update_manifest(opened, added)
    return sorted(measured, key=lambda each: -each.tokens_per_second)


def _machine_and_runtime(each: MeasuredLayout) -> tuple[tuple[str, ...], int, str]:
    return tuple(sorted(each.cpu_flags)), each.cores, each.runtime
