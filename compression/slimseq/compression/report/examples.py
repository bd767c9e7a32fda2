"""Outputs of every variant on the same texts, side by side, generated when the report is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimseq.compression.context import Context
from slimseq.compression.report.facts import TaskFacts
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import open_generator


@dataclass(frozen=True)
class ShownOutput:
    """What one variant makes of a source. `same_as` is its reference where that makes the same of it."""

    variant: str
    text: str
    same_as: str | None


@dataclass(frozen=True)
class ShownExample:
    """One source, the text expected of it, and each variant's output in the order of the facts."""

    source: str
    reference: str
    outputs: tuple[ShownOutput, ...]


def generate_examples(context: Context, facts: TaskFacts, count: int) -> list[ShownExample]:
    """Generates from the first of the bundled sample texts, on each variant's default runtime and settings.

    Variants are opened one after the other, so that a store larger than the memory can be reported.

    Args:
        context: the store, and where progress goes.
        facts: the task and its variants.
        count: how many texts; 0 generates nothing.

    Raises:
        CorruptArtifact, RuntimeUnavailable: a variant cannot be opened.
    """
    if not count:
        return []
    examples = load_examples(facts.task, "sample", samples=count).examples
    outputs: dict[str, list[str]] = {}
    with context.progress() as progress:
        bar = progress.add_task(f"generate {facts.task} examples", total=len(facts.variants), status="")
        for variant in facts.variants:
            progress.update(bar, status=variant.name)
            with open_generator(context.store, facts.task, variant.name) as generator:
                options = variant.manifest.generation.options()
                generator.check(options)
                outputs[variant.name] = [output.text for output in generate_with(generator, options)(examples)]
            progress.advance(bar)
    return [
        ShownExample(example.source, example.target, _outputs(facts, outputs, place))
        for place, example in enumerate(examples)
    ]


def _outputs(facts: TaskFacts, texts: Mapping[str, Sequence[str]], place: int) -> tuple[ShownOutput, ...]:
    shown = []
    for name, each in texts.items():
        reference = facts.reference_of(name)
        is_same = reference != name and reference in texts and texts[reference][place] == each[place]
        shown.append(ShownOutput(name, each[place], reference if is_same else None))
    return tuple(shown)
