"""Tables in Markdown files: the lines between two markers are made from the manifests, and checked against them."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

from slimseq.compression.report import number_format
from slimseq.compression.report.facts import DatasetFacts, RootFacts, VariantFacts
from slimseq.evaluation.gate import baseline_warning
from slimseq.evaluation.metrics import BASELINE_NAME, PRIMARY_METRIC
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text
from slimseq.models_store.measurements import QualityScore

MARKER = "<!-- {}:{} -->"
METRIC_NAMES = {"bleu": "BLEU", "chrf": "chrF", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}


class BadReadme(SlimseqError):
    """Raised when a README cannot be read or written, or lacks the markers."""


class OutdatedTables(SlimseqError):
    """Raised when a README's tables do not match the manifests; names the first line that differs."""


def update_readme(path: Path, facts: Sequence[RootFacts]) -> bool:
    """Writes the tables between their markers, atomically, and nothing else. Returns whether the file changed."""
    before, after = _before_and_after(path, facts)
    if after != before:
        write_text(path, "\n".join(after))
    return after != before


def check_readme(path: Path, facts: Sequence[RootFacts]) -> None:
    """Checks that the tables between their markers are what `update_readme` would write."""
    for number, (has, wanted) in enumerate(zip_longest(*_before_and_after(path, facts)), 1):
        if has != wanted:
            raise OutdatedTables(
                f"{path}: line {number} says {has!r} but the manifests say {wanted!r}; "
                "run the same command without --check"
            )


def _before_and_after(path: Path, facts: Sequence[RootFacts]) -> tuple[list[str], list[str]]:
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


def block(facts: Sequence[RootFacts]) -> list[str]:
    """Returns the lines between the markers: tables of variants and of scores for each root, and then notes."""
    lines = [""]
    for each in facts:
        lines += [*_variants(each), ""]
        for metric in dict.fromkeys(dataset.metric for dataset in each.datasets):
            lines += [*_scores(each, metric), ""]
    notes = _notes(facts)
    return [*lines, *notes, ""] if notes else lines


def summary(facts: Sequence[RootFacts]) -> list[str]:
    """Returns a short table for each root: size, speed, and the lowest retention and agreement of each variant."""
    lines = [""]
    for each in facts:
        retention = f"lowest retention of {_metric_name(each.metric)}"
        head = ["weights", "smaller than fp32", "tokens/s, times the original's", retention, "lowest agreement"]
        rows = [
            [
                variant.name,
                number_format.megabytes(variant.disk_bytes),
                number_format.times(variant.times_smaller),
                number_format.times(variant.speed.speed_up if variant.speed else None),
                _retention(variant.least_retention),
                _agreement(variant, variant.least_agreement),
            ]
            for variant in each.variants
        ]
        lines += [*_table([_title(each), *head], rows, texts=(0,)), ""]
    return lines


def _title(facts: RootFacts) -> str:
    languages = facts.variants[0].manifest.languages
    return f"{facts.task.value}, {' to '.join(languages)}" if len(languages) > 1 else facts.task.value


def _metric_name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric)


def _retention(score: QualityScore | None) -> str:
    return number_format.bounded(score.retention, score.retention_interval) if score else number_format.NOTHING


def _agreement(variant: VariantFacts, score: QualityScore | None) -> str:
    """Returns the similarity with its interval, in words if it was not measured, and a dash for a reference itself."""
    if variant.is_root:
        return number_format.NOTHING
    if score is None or score.agreement is None:
        return "not measured"
    return number_format.bounded(score.agreement.similarity, score.agreement.interval)


def _variants(facts: RootFacts) -> list[str]:
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
                number_format.megabytes(variant.disk_bytes),
                number_format.times(variant.times_smaller),
                number_format.fixed(speed.measured.tokens_per_second if speed else None, 0),
                _speed_up(variant),
                number_format.fixed(speed.token_ms if speed else None),
                number_format.megabytes(speed.measured.resident_bytes if speed else None),
                gate.status if gate else number_format.NOTHING,
            ]
        )
    head = "variant, lineage, beams, parameters, weights, smaller than fp32, tokens/s, speed-up, ms a token"
    return _table([*head.split(", "), "resident", "gate"], rows, texts=(0, 1, 10))


def _speed_up(variant: VariantFacts) -> str:
    """Returns the speed-up with what it is relative to: the root's tokens a second on the variant's runtime.

    The root's own row may be of another runtime, on which it is faster.
    """
    speed = variant.speed
    if speed is None or speed.speed_up is None:
        return number_format.NOTHING
    if variant.is_root:
        return number_format.times(speed.speed_up)
    return f"{number_format.times(speed.speed_up)} of {number_format.fixed(speed.base_tokens_per_second, 0)}"


def _scores(facts: RootFacts, metric: str) -> list[str]:
    datasets = [dataset for dataset in facts.datasets if dataset.metric == metric]
    variants = {variant.name: variant for variant in facts.variants}
    rows = [_score_row(facts, dataset, variants[name], score) for dataset in datasets for name, score in dataset.scores]
    baseline = BASELINE_NAME[facts.task].replace("source-copy", "source copy")
    head = [_title(facts), "samples", "variant", baseline, _metric_name(metric)]
    head += ["retention", "p", "agreement", "equal outputs"]
    # Agreement is of the outputs, and stands beside the scores of the primary metric.
    columns = len(head) if metric == PRIMARY_METRIC[facts.task] else len(head) - 2
    return _table(head[:columns], [row[:columns] for row in rows], texts=(0, 2))


def _score_row(facts: RootFacts, dataset: DatasetFacts, variant: VariantFacts, score: QualityScore) -> list[str]:
    of_run = dataset.reference_value(variant.name, facts.reference)
    return [
        _dataset_name(facts, dataset),
        f"{dataset.samples:,}",
        variant.name,
        number_format.fixed(score.baseline, 1),
        number_format.bounded(score.value, score.interval, 2),
        _retention(score) + (f" of {number_format.fixed(of_run)}" if of_run is not None else ""),
        number_format.p_value(score.p_value),
        _agreement(variant, score),
        number_format.fixed(score.agreement.exact if score.agreement and not variant.is_root else None, 3),
    ]


def _dataset_name(facts: RootFacts, dataset: DatasetFacts) -> str:
    """Returns the name of a data set, with the prompt where the same texts were scored with several."""
    texts = dataset.dataset, dataset.split, dataset.samples
    prompts = {each.prompt for each in facts.datasets if (each.dataset, each.split, each.samples) == texts}
    prompt = f", prompt `{dataset.prompt}`" if len(prompts) > 1 else ""
    return f"{dataset.dataset} ({dataset.split}{prompt})"


def _notes(facts: Sequence[RootFacts]) -> list[str]:
    """Returns notes on the measurements: settings of speed, signatures of metrics, dates, useless base models."""
    signatures: dict[str, None] = {}
    days: set[str] = set()
    warnings: dict[str, None] = {}
    has_reference_value = False
    for each in facts:
        for dataset in each.datasets:
            for name, score in dataset.scores:
                signatures[f"{_metric_name(score.metric)} `{score.signature}`"] = None
                if score.measured_at:
                    day, _, _ = score.measured_at.partition("T")
                    days.add(day)
                if dataset.reference_value(name, each.reference) is not None:
                    has_reference_value = True
                warning = baseline_warning(each.task, name, score, is_base=True) if name == each.reference else None
                if warning is not None:
                    warnings[warning] = None
    lines = [f"Speed and memory of {words}." for words in _settings(facts)]
    if any(variant.speed and variant.speed.speed_up for each in facts for variant in each.variants):
        lines.append(
            "A speed-up is relative to the tokens a second that the same run measured of the original, on the same "
            "runtime; the original's own row is of the runtime on which it is fastest."
        )
    if has_reference_value:
        lines.append("A retention “of” a score is relative to what the original scored in the same run.")
    if signatures:
        lines.append(f"Signatures: {'; '.join(signatures)}.")
    if len(days) == 1:
        lines.append(f"Measured on {min(days)}.")
    elif days:
        lines.append(f"Measured from {min(days)} to {max(days)}.")
    return [*lines, *(f"Warning: {warning}." for warning in warnings)]


def _settings(facts: Sequence[RootFacts]) -> list[str]:
    """Returns the setting in which each root's speeds were measured. Roots with the same setting share a line."""
    titles: dict[str, list[str]] = {}
    for each in facts:
        if each.setting is not None:
            titles.setdefault(each.setting.words(), []).append(_title(each))
    return [f"{', and '.join(names)}: {words}" for words, names in titles.items()]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int]) -> list[str]:
    """Returns a Markdown table. Columns are right-aligned, except the text columns `texts`."""
    rule = ["---" if column in texts else "---:" for column in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


# The tables by the names of their markers.
TABLES: dict[str, Callable[[Sequence[RootFacts]], list[str]]] = {"variants": summary, "report": block}
