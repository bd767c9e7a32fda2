"""Writes the HTML page of a report: facts, plots and examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.report import numbers
from slimseq.compression.report.facts import TaskFacts, facts_of
from slimseq.compression.report.plots import Plot, trade_offs
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import open_generator
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Task

TEMPLATE = "report.html.jinja"
PAGE = "report.html"


@dataclass(frozen=True)
class ShownExample:
    """One source, its reference text, and the output of each variant in the order of the facts."""

    source: str
    reference: str
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class TaskSection:
    """The content of the page for one task."""

    facts: TaskFacts
    trade_offs: list[Plot]
    examples: list[ShownExample]


def write_report(context: Context, folder: Path, tasks: Sequence[Task], examples: int) -> Path:
    """Writes `report.html`, which is self-contained, into a folder. Returns the path of the page."""
    if folder.exists() and not folder.is_dir():
        raise BadParameters(f"--out {folder} is a file, not a folder")
    sections = [
        TaskSection(facts, trade_offs(facts), _generate_examples(context, facts, examples))
        for facts in facts_of(context.store, tasks)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / PAGE, render(sections))
    return folder / PAGE


def render(sections: Sequence[TaskSection]) -> str:
    """Returns the HTML page. Numbers from manifests are in `data` elements, whose value has all digits."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("slimseq.compression", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("fixed", "interval", "megabytes", "times", "p_value", "plain")
    environment.filters.update({name: getattr(numbers, name) for name in filters})
    return environment.get_template(TEMPLATE).render(sections=sections, nothing=numbers.NOTHING)


def _generate_examples(context: Context, facts: TaskFacts, count: int) -> list[ShownExample]:
    """Generates outputs for the first bundled sample texts, with each variant's default runtime and options.

    One variant is open at a time, so that the store may be larger than the memory.
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
        ShownExample(example.source, example.target, {name: texts[index] for name, texts in outputs.items()})
        for index, example in enumerate(examples)
    ]
