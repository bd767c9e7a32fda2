"""Generates outputs of all variants for the same sample texts, for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimseq.compression.context import Context
from slimseq.compression.report.facts import TaskFacts
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import open_generator


@dataclass(frozen=True)
class ShownOutput:
    """The output of one variant. `same_as` is its reference if the reference has the same output."""

    variant: str
    text: str
    same_as: str | None


@dataclass(frozen=True)
class ShownExample:
    """One source, its reference text, and the output of each variant in the order of the facts."""

    source: str
    reference: str
    outputs: tuple[ShownOutput, ...]


def generate_examples(context: Context, facts: TaskFacts, count: int) -> list[ShownExample]:
    """Generates outputs for the first bundled sample texts, with each variant's default runtime and options.

    One variant is open at a time, so that the store may be larger than the memory.

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
        ShownExample(example.source, example.target, _outputs(facts, outputs, index))
        for index, example in enumerate(examples)
    ]


def _outputs(facts: TaskFacts, texts: Mapping[str, Sequence[str]], index: int) -> tuple[ShownOutput, ...]:
    shown = []
    for name, each in texts.items():
        reference = facts.reference_of(name)
        is_same = reference != name and reference in texts and texts[reference][index] == each[index]
        shown.append(ShownOutput(name, each[index], reference if is_same else None))
    return tuple(shown)
