"""Evaluates variants offline: the same samples, in the same run, on the runtime that serves them."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from compression.card import write_card
from compression.context import Context
from evaluation.datasets import load_examples
from evaluation.host import cpu_flags
from evaluation.record import record
from evaluation.results import Evaluation
from evaluation.run import evaluate, generate_with
from models_store.generator import TextGenerator, open_generator
from models_store.manifest import Task

REFERENCE = "original"


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate on, and how.

    Args:
        dataset: `sample`, a hub data set's name, or a file.
        samples: the first how many; None takes all.
        split: where the data set has several.
        runtime: None takes the one that serves.
        threads: intra-operator threads; 0 lets the runtime choose.
        generation: settings in place of the artifacts' defaults.
        prefix: put before every source in place of the artifacts' default.
    """

    dataset: str = "sample"
    samples: int | None = None
    split: str = "test"
    runtime: str | None = None
    threads: int = 0
    generation: Mapping[str, Any] = field(default_factory=dict)
    prefix: str | None = None


def evaluate_variants(
    context: Context, task: Task, variants: Sequence[str], options: EvaluateOptions, keep: Sequence[str] = ()
) -> Evaluation:
    """Evaluates variants, with the original among them wherever the store has one.

    Args:
        context: the store, and where progress goes.
        task: the task.
        variants: the variants' names.
        options: data and settings.
        keep: those whose manifests and cards the scores are written into.

    Returns:
        Every metric of every variant, with intervals and retention.

    Raises:
        UnknownVariant, CorruptArtifact, RuntimeUnavailable: a variant cannot be opened.
        DatasetUnavailable: the data cannot be read.
    """
    names = list(dict.fromkeys(variants))
    if REFERENCE not in names and REFERENCE in context.store.variants(task):
        names.insert(0, REFERENCE)
    sample = load_examples(task, options.dataset, options.split, options.samples)
    if options.prefix is not None:
        examples = tuple(replace(example, prefix=options.prefix) for example in sample.examples)
        sample = replace(sample, examples=examples)
    with ExitStack() as stack, context.progress() as progress:
        generators: dict[str, TextGenerator] = {}
        for name in names:
            generator = open_generator(context.store, task, name, options.runtime, options.threads)
            generators[name] = stack.enter_context(generator)
        settings = {
            name: generator.manifest.generation.options(**options.generation) for name, generator in generators.items()
        }
        for name, generator in generators.items():
            generator.check(settings[name])
        bar = progress.add_task(f"evaluate {task} on {sample.name}", total=None, status="")
        evaluation = evaluate(
            task,
            sample,
            {name: generate_with(generator, settings[name]) for name, generator in generators.items()},
            reference_system=REFERENCE if REFERENCE in generators else None,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
        for name in keep:
            generator = generators[name]
            defaults = generator.manifest.generation
            pinned = settings[name].model_dump() | {
                "prefix": defaults.prefix if options.prefix is None else options.prefix,
                "max_input_tokens": generator.max_input_tokens,
            }
            scores = evaluation.quality_scores(
                name,
                runtime=generator.runtime.name,
                cpu_flags=cpu_flags(),
                measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
                generation=pinned,
            )
            record(context.store, task, name, scores)
            write_card(context.store.folder(task, name), context.store.manifest(task, name))
    return evaluation
