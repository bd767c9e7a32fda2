"""Generates an artifact's model card, `README.md`, from its manifest."""

from pathlib import Path

from slimseq.models_store.files import write_text
from slimseq.models_store.lineage import is_root, label_of
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import QualityScore


def write_card(folder: Path, manifest: Manifest) -> None:
    write_text(folder / "README.md", card_of(manifest))


def card_of(manifest: Manifest) -> str:
    front = [
        "---",
        "library_name: slimseq",
        f"pipeline_tag: {manifest.task.value}",
        f"license: {manifest.license}",
        "language:",
        *(f"- {language}" for language in manifest.languages),
        "---",
    ]
    size = manifest.size
    formats = ", ".join(f"{name} {count / 1e6:.1f} MB" for name, count in sorted(size.bytes_by_format.items()))
    body = [
        f"# {manifest.task.value}/{manifest.variant}",
        "",
        manifest.description,
        "",
        f"- Family: {manifest.family}; {size.parameters:,} parameters, {size.nonzero_parameters:,} non-zero",
        f"- Files: {formats}",
        f"- Digest: `{manifest.digest}`",
        f"- Training data: {manifest.training_data}",
        *_reference(manifest),
        "",
        "## Lineage",
        "",
        *(
            f"{number}. `{step.technique}` {parameters_of(step.parameters)}".rstrip()
            for number, step in enumerate(manifest.lineage, 1)
        ),
        "",
        "## Generation defaults",
        "",
        *(f"- `{name}`: {value!r}" for name, value in manifest.generation.model_dump().items()),
        "",
        "## Quality",
        "",
        *quality_table(manifest.quality),
    ]
    return "\n".join([*front, "", *body]) + "\n"


def _reference(manifest: Manifest) -> list[str]:
    if manifest.reference is None or is_root(manifest):
        return []
    named = f"`{label_of(manifest.reference)}`, `{manifest.reference.digest}`"
    return [f"- Retention is relative to: {named}"]


def parameters_of(parameters: dict[str, object]) -> str:
    """Returns a step's parameters on one line, without tables of measurements."""
    plain = {name: value for name, value in parameters.items() if not _is_table(value)}
    return ", ".join(f"{name}={value}" for name, value in plain.items())


def _is_table(value: object) -> bool:
    """Whether a value is nested more than once, such as the quality by number of beams."""
    if isinstance(value, dict):
        return any(isinstance(each, dict | list | tuple) for each in value.values())
    if isinstance(value, list | tuple):
        return any(isinstance(each, dict | list | tuple) for each in value)
    return False


def quality_table(scores: list[QualityScore]) -> list[str]:
    """Returns a Markdown table of scores, or a sentence if there are none."""
    if not scores:
        return ["Not measured yet. `slimseq evaluate` measures it."]
    has_agreement = any(score.agreement for score in scores)
    rows = [
        "| data set | samples | metric | value | 95 % interval | retention | baseline | runtime |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    if has_agreement:
        rows = [f"{rows[0]} agreement |", f"{rows[1]} --- |"]
    for score in scores:
        retention = "" if score.retention is None else f"{score.retention:.3f}"
        baseline = "" if score.baseline is None else f"{score.baseline:.1f}"
        rows.append(
            f"| {score.dataset} ({score.split}) | {score.samples} | {score.metric} | {score.value:.2f} "
            f"| {score.interval[0]:.2f} to {score.interval[1]:.2f} | {retention} | {baseline} | {score.runtime} |"
        )
        if has_agreement:
            rows[-1] += f" {score.agreement.similarity:.3f} |" if score.agreement else "  |"
    return rows
