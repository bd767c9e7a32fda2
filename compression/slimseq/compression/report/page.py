"""Writes the HTML page of a report: facts, findings, plots and examples."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.report import numbers
from slimseq.compression.report.drawing import Plot
from slimseq.compression.report.examples import ShownExample, generate_examples
from slimseq.compression.report.facts import TaskFacts, facts_of
from slimseq.compression.report.findings import Finding, findings_of
from slimseq.compression.report.plots import finding_plot, trade_offs
from slimseq.evaluation.record import SHOWN_SLICES
from slimseq.models_store.manifest import Task

TEMPLATE = "report.html.jinja"
PAGE = "report.html"


@dataclass(frozen=True)
class TaskSection:
    """The content of the page for one task."""

    facts: TaskFacts
    trade_offs: list[Plot]
    findings: list[tuple[Finding, Plot | None]]
    examples: list[ShownExample]


def write_report(context: Context, folder: Path, tasks: Sequence[Task], examples: int) -> Path:
    """Writes `report.html`, which is self-contained, and its plots as PNG files.

    Args:
        context: the store, and the console for progress.
        folder: new, empty, or of an earlier report, which is replaced.
        tasks: empty means all tasks in the store.
        examples: number of sample texts for which every variant generates an output.

    Returns:
        The path of the page.

    Raises:
        BadParameters: the folder cannot be replaced.
        BadData: the store has nothing to report.
        InvalidArtifact, CorruptArtifact, RuntimeUnavailable: an artifact cannot be read or opened.
    """
    check_folder(folder)
    sections = [_section(context, facts, examples) for facts in facts_of(context.store, tasks)]
    files = {
        name: content for section in sections for plot in _plots(section) for name, content in plot.files().items()
    }
    write_folder(folder, {PAGE: rendered(sections).encode(), **files})
    return folder / PAGE


def rendered(sections: Sequence[TaskSection]) -> str:
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
        sections=sections, nothing=numbers.NOTHING, shown_slices=SHOWN_SLICES
    )


def _section(context: Context, facts: TaskFacts, examples: int) -> TaskSection:
    findings = findings_of([variant.manifest for variant in facts.variants])
    return TaskSection(
        facts=facts,
        trade_offs=trade_offs(facts),
        findings=[
            (finding, finding_plot(finding, f"{facts.task.value}-{finding.kind}-{number}"))
            for number, finding in enumerate(findings, 1)
        ],
        examples=generate_examples(context, facts, examples),
    )


def _plots(section: TaskSection) -> list[Plot]:
    return [*section.trade_offs, *(plot for _, plot in section.findings if plot is not None)]


def check_folder(folder: Path) -> None:
    """Checks that a report may replace a folder: it is new, empty, or contains only an earlier report.

    Raises:
        BadParameters: it is a file, or contains other files.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadParameters(f"--out {folder} is a file, not a folder")
    foreign = sorted(path.name for path in folder.iterdir() if path.name != PAGE and path.suffix != ".png")
    if foreign:
        raise BadParameters(f"--out {folder} contains {foreign[0]}, which a report would delete: name another folder")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files to a temporary folder and renames it.

    Args:
        folder: the folder of the report; an earlier report is replaced.
        files: contents by file name.

    Raises:
        BadParameters: as `check_folder` does, or the folder cannot be written.
    """
    check_folder(folder)
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
    except OSError as error:
        raise BadParameters(f"--out {folder} cannot be written: {error.strerror}") from error
    old = temporary.with_name(temporary.name + "-old")
    try:
        temporary.chmod(0o755)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        if folder.exists():
            folder.replace(old)
        try:
            temporary.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
