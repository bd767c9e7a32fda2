"""Writes the HTML page of a report: facts, findings, plots, loss curves and examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimseq.compression.context import Context
from slimseq.compression.report import numbers
from slimseq.compression.report.drawing import Plot
from slimseq.compression.report.examples import ShownExample, generate_examples
from slimseq.compression.report.facts import TaskFacts, facts_of
from slimseq.compression.report.findings import Finding, findings_of
from slimseq.compression.report.folder import PAGE, check_folder, write_folder
from slimseq.compression.report.losses import read_loss_curves
from slimseq.compression.report.plots import finding_plot, loss_plot, trade_offs
from slimseq.evaluation.record import SHOWN_SLICES
from slimseq.models_store.manifest import Task

TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class ReportOptions:
    """The optional parts of a report.

    Args:
        build: the folder of a build, with its loss logs; None leaves them out.
        examples: the number of sample texts for which every variant generates an output.
    """

    build: Path | None = None
    examples: int = 5


@dataclass(frozen=True)
class TaskSection:
    """The content of the page for one task."""

    facts: TaskFacts
    trade_offs: list[Plot]
    findings: list[tuple[Finding, Plot | None]]
    examples: list[ShownExample]


def write_report(context: Context, folder: Path, tasks: Sequence[Task], options: ReportOptions) -> Path:
    """Writes `report.html`, which is self-contained, and its plots as PNG files.

    Returns:
        The path of the page.

    Raises:
        BadParameters: the folder cannot be replaced.
        BadData: the store has nothing to report, or a file of the build cannot be read.
        InvalidArtifact, CorruptArtifact, RuntimeUnavailable: an artifact cannot be read or opened.
    """
    check_folder(folder)
    found = facts_of(context.store, tasks)
    curves = read_loss_curves(options.build) if options.build else []
    sections = [_section(context, facts, options) for facts in found]
    training = [loss_plot(curve, f"training-{number}") for number, curve in enumerate(curves, 1)]
    plots = [*training, *(plot for section in sections for plot in _plots(section))]
    files = {name: content for plot in plots for name, content in plot.files().items()}
    write_folder(folder, {PAGE: rendered(sections, training).encode(), **files})
    return folder / PAGE


def rendered(sections: Sequence[TaskSection], training: Sequence[Plot]) -> str:
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
    return environment.get_template(TEMPLATE).render(
        sections=sections, training=training, nothing=numbers.NOTHING, shown_slices=SHOWN_SLICES
    )


def _section(context: Context, facts: TaskFacts, options: ReportOptions) -> TaskSection:
    findings = findings_of([variant.manifest for variant in facts.variants])
    return TaskSection(
        facts=facts,
        trade_offs=trade_offs(facts),
        findings=[
            (finding, finding_plot(finding, f"{facts.task.value}-{finding.kind}-{number}"))
            for number, finding in enumerate(findings, 1)
        ],
        examples=generate_examples(context, facts, options.examples),
    )


def _plots(section: TaskSection) -> list[Plot]:
    return [*section.trade_offs, *(plot for _, plot in section.findings if plot is not None)]
