"""Measures the speed of variants offline: they take turns in one run, so that a machine's noise hits all alike."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from slimseq.compression.context import Context
from slimseq.compression.option_groups import COMMON, flat
from slimseq.compression.timed_texts import TimedTexts
from slimseq.evaluation.benchmark import compare
from slimseq.evaluation.host import give_back_memory, resident_bytes
from slimseq.inference.generator import TextGenerator, choose_runtime, open_generator
from slimseq.models_store.manifest import Performance, Task


@flat(COMMON)
@dataclass(frozen=True)
class BenchmarkOptions(TimedTexts):
    """What to generate, and how."""

    new_tokens: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1024))] = None
    """Number of output tokens of every text, so that all variants do equal work. By default a text ends where the model
    ends it."""
    threads: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Number of threads of the runtime. 0 lets the runtime choose."""


def benchmark_variants(
    context: Context, task: Task, variants: Sequence[str], options: BenchmarkOptions, keep: bool = False
) -> dict[str, Performance]:
    """Measures latency and throughput of variants.

    Args:
        context: the store.
        task: the task.
        variants: names; the first one's generation defaults hold for all, but for the beams: each has its own.
        options: texts and settings.
        keep: whether the figures are written into the variants' manifests, in place of earlier ones of that setting.

    Raises:
        UnknownVariant, CorruptArtifact, RuntimeUnavailable: a variant cannot be opened.
        DatasetUnavailable: the texts cannot be read.
    """
    texts = options.texts(task)
    with ExitStack() as stack:
        generators: dict[str, TextGenerator] = {}
        resident: dict[str, int] = {}
        for name in variants:
            # Imported first, so that the first variant is not charged with its runtime's library.
            choose_runtime(context.store, task, name, options.runtime).opener()
            # What an earlier variant gave up would otherwise take this one in, and it would seem to need nothing.
            give_back_memory()
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
        measured = compare(
            generators, texts, settings, options.batch, options.repeats, threads=options.threads, resident=resident
        )
    for name, performance in measured.items() if keep else ():
        manifest = context.store.manifest(task, name)
        kept = [each for each in manifest.performance if _setting(each) != _setting(performance)]
        context.store.rewrite_manifest(manifest.model_copy(update={"performance": [*kept, performance]}))
    return measured


def _setting(performance: Performance) -> tuple[str, str, int, int, int]:
    return (
        performance.host,
        performance.runtime,
        performance.batch,
        performance.num_beams,
        performance.threads,
    )
