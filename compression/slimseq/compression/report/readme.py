"""Tables in Markdown files: the lines between two markers are made from the manifests, and checked against them."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

from slimseq.compression.report import numbers
from slimseq.compression.report.facts import DatasetFacts, TaskFacts, task_facts
from slimseq.evaluation.metrics import BASELINE_NAME
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text
from slimseq.models_store.measurements import QualityScore

MARKER = "<!-- {}:{} -->"
METRIC_NAMES = {"bleu": "BLEU", "chrf": "chrF", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}


class BadReadme(SlimseqError):
    """Raised when a README cannot be read or written, or lacks the markers."""


class OutdatedTables(SlimseqError):
    """Raised when a README's tables do not match the manifests; names the first line that differs."""


def update_readme(path: Path, facts: Sequence[TaskFacts]) -> bool:
    """Writes the tables between their markers, atomically, and nothing else. Returns whether the file changed."""
    before, after = _before_and_after(path, facts)
    if after != before:
        write_text(path, "\n".join(after))
    return after != before


def check_readme(path: Path, facts: Sequence[TaskFacts]) -> None:
    """Checks that the tables between their markers are what `update_readme` would write."""
    for number, (has, wanted) in enumerate(zip_longest(*_before_and_after(path, facts)), 1):
        if has != wanted:
            raise OutdatedTables(
                f"{path}: line {number} says {has!r} but the manifests say {wanted!r}; "
                "run the same command without --check"
            )


def _before_and_after(path: Path, facts: Sequence[TaskFacts]) -> tuple[list[str], list[str]]:
    """Returns the lines of a file, and those with new tables between the markers."""
    try:
        before = path.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadReadme(f"{path} cannot be read: {reason}") from error
    after, has_table = before, False
    for name, table in TABLES.items():
        stripped = [line.strip() for line in after]
        first, last = (MARKER.format(name, side) for side in ("begin", "end"))
        if first not in stripped and last not in stripped:
            continue
        for marker in (first, last):
            if stripped.count(marker) != 1:
                raise BadReadme(f"{path} has the line {marker} {stripped.count(marker)} times instead of once")
        begin, end = stripped.index(first), stripped.index(last)
        if end < begin:
            raise BadReadme(f"{path}: line {end + 1} has {last} before {first}")
        after, has_table = [*after[: begin + 1], *table(facts), *after[end:]], True
    if not has_table:
        raise BadReadme(f"{path} has no line {' or '.join(MARKER.format(name, 'begin') for name in TABLES)}")
    return before, after


def block(facts: Sequence[TaskFacts]) -> list[str]:
    """Returns the lines between the markers: for each root tables of variants and scores, then notes."""
    lines = [""]
    for each in _by_reference(facts):
        lines += [*_variants(each), ""]
        lines += [*_scores(each), ""] if each.datasets else []
    notes = _notes(facts)
    return [*lines, *notes, ""] if notes else lines


def summary(facts: Sequence[TaskFacts]) -> list[str]:
    """Returns a short table for each root: size, speed, and the lowest retention and agreement of each variant."""
    lines = [""]
    head = ["weights", "smaller than fp32", "tokens/s, times the original's", "lowest retention", "lowest agreement"]
    for each in _by_reference(facts):
        rows = [
            [
                variant.name,
                numbers.megabytes(variant.disk_bytes),
                numbers.times(variant.times_smaller),
                numbers.times(variant.speed.ratio if variant.speed else None),
                _retention(variant.least_retention),
                _agreement(each, variant.name, variant.least_agreement),
            ]
            for variant in each.variants
        ]
        lines += [*_table([_title(each), *head], rows, texts=(0,)), ""]
    return lines


def _by_reference(facts: Sequence[TaskFacts]) -> list[TaskFacts]:
    """Returns the facts of each root with its variants: roots may translate into different languages."""
    return [
        task_facts(
            each.task, [variant.manifest for variant in each.variants if variant.reference == reference], each.metric
        )
        for each in facts
        for reference in each.references()
    ]


def _title(facts: TaskFacts) -> str:
    languages = facts.variants[0].manifest.languages
    return f"{facts.task.value}, {' to '.join(languages)}" if len(languages) > 1 else facts.task.value


def _retention(score: QualityScore | None) -> str:
    return numbers.bounded(score.retention, score.retention_interval) if score else numbers.NOTHING


def _agreement(facts: TaskFacts, name: str, score: QualityScore | None) -> str:
    """Returns the similarity with its interval, in words if it was not measured, and a dash for a reference itself."""
    if facts.reference_of(name) == name:
        return numbers.NOTHING
    if score is None or score.agreement is None:
        return "not measured"
    return numbers.bounded(score.agreement.similarity, score.agreement.interval)


def _variants(facts: TaskFacts) -> list[str]:
    rows = []
    for variant in facts.variants:
        speed = variant.speed
        gate = variant.manifest.gate
        rows.append(
            [
                f"{facts.task.value}/{variant.name}",
                " → ".join(variant.lineage),
                str(variant.manifest.generation.num_beams),
                f"{variant.manifest.size.parameters:,}",
                numbers.megabytes(variant.disk_bytes),
                numbers.times(variant.times_smaller),
                numbers.fixed(speed.measured.tokens_per_second if speed else None, 0),
                numbers.times(speed.ratio if speed else None),
                numbers.fixed(speed.token_ms if speed else None),
                numbers.megabytes(speed.measured.resident_bytes if speed else None),
                gate.status if gate else numbers.NOTHING,
            ]
        )
    head = "variant, lineage, beams, parameters, weights, smaller than fp32, tokens/s, speed-up, ms a token"
    return _table([*head.split(", "), "resident", "gate"], rows, texts=(0, 1, 10))


def _scores(facts: TaskFacts) -> list[str]:
    rows = [_score_row(facts, dataset, name, score) for dataset in facts.datasets for name, score in dataset.scores]
    baseline = BASELINE_NAME[facts.task].replace("source-copy", "source copy")
    head = [_title(facts), "samples", "variant", baseline, METRIC_NAMES.get(facts.metric, facts.metric)]
    head += ["retention", "p", "agreement", "equal outputs"]
    return _table(head, rows, texts=(0, 2))


def _score_row(facts: TaskFacts, dataset: DatasetFacts, name: str, score: QualityScore) -> list[str]:
    is_compared = facts.reference_of(name) != name
    return [
        f"{dataset.dataset} ({dataset.split})",
        f"{dataset.samples:,}",
        name,
        numbers.fixed(score.baseline, 1),
        numbers.bounded(score.value, score.interval, 2),
        _retention(score),
        numbers.p_value(score.p_value),
        _agreement(facts, name, score),
        numbers.fixed(score.agreement.exact if score.agreement and is_compared else None, 3),
    ]


def _notes(facts: Sequence[TaskFacts]) -> list[str]:
    """Returns notes on the measurements: settings of speed, signatures of metrics, dates."""
    settings = dict.fromkeys(each.setting.words() for each in facts if each.setting)
    primary = [
        (METRIC_NAMES.get(each.metric, each.metric), score)
        for each in facts
        for dataset in each.datasets
        for _, score in dataset.scores
    ]
    signatures = dict.fromkeys(f"{name} `{score.signature}`" for name, score in primary)
    days = sorted({score.measured_at[:10] for _, score in primary if score.measured_at})
    lines = [f"Speed and memory: {setting}." for setting in settings]
    if signatures:
        lines.append(f"Signatures: {'; '.join(signatures)}.")
    if days:
        lines.append(f"Measured on {days[0]}." if len(days) == 1 else f"Measured from {days[0]} to {days[-1]}.")
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int]) -> list[str]:
    """Returns a Markdown table. Columns are right-aligned, except the text columns `texts`."""
    rule = ["---" if column in texts else "---:" for column in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


# The tables by the names of their markers.
TABLES: dict[str, Callable[[Sequence[TaskFacts]], list[str]]] = {"variants": summary, "report": block}
