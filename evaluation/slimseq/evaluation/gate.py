"""Quality gates: the conditions of a recipe, and the verdict on a variant that its manifest stores.

No other module decides or changes a verdict. The service and the page show the verdict of the manifest. What a check
means is defined here alone:

- A condition on retention is checked on every test set. It passes where the measured retention is at least the limit.
  With `confident`, the lower bound of the 95 % interval must be at least the limit.
- A check warns if there are too few samples for its claim: the limit is inside of the 95 % interval, and half of the
  interval is wider than the distance between the limit and 1. Then a variant that keeps everything, and a variant that
  just misses the limit, look alike.
- A check warns if the base model scores no more than the trivial baseline on that data. The retention of such a score
  says nothing.
- Speed is judged by the speed-up of one run (`slimseq.evaluation.speed_up`), size by the bytes of the smallest format.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from slimseq.evaluation.metrics import BASELINE_NAME, PRIMARY_METRIC
from slimseq.evaluation.retention import reference_value, scores_on_test_sets
from slimseq.evaluation.speed_up import speed_up_for_gate
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.lineage import label_of
from slimseq.models_store.manifest import Check, Manifest, Task, Verdict
from slimseq.models_store.measurements import MetricResult, QualityScore


class NotMeasured(SlimseqError):
    """Raised when a gate has a condition on something that was not measured. Names the variant and the condition."""


class Gate(BaseModel):
    """The conditions that a variant must meet, relative to its reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    retention: float | None = Field(default=None, gt=0)
    """Minimum retention of the metric, on every test set."""
    metric: str | None = None
    """Metric of the retention. By default the task's primary metric."""
    confident: bool = False
    """Whether the lower bound of the retention's 95 % interval must reach the minimum, and not only its value."""
    smaller: float | None = Field(default=None, gt=0)
    """Minimum ratio of the reference's bytes in fp32 to the variant's bytes as served."""
    faster: float | None = Field(default=None, gt=0)
    """Minimum ratio of output tokens a second to the reference's, in the same run on the same runtime."""
    fewer_parameters: float | None = Field(default=None, gt=0, lt=1)
    """Minimum share of parameters removed."""


def verdict_on(manifest: Manifest, reference: Manifest, gate: Gate) -> Verdict:
    """Checks every condition of a gate on a variant, against the root of its lineage."""
    checks: list[Check] = []
    if gate.retention is not None:
        metric = gate.metric or PRIMARY_METRIC[manifest.task]
        scores = scores_on_test_sets(score for score in manifest.quality if score.metric == metric)
        if not scores:
            raise NotMeasured(f"{manifest.variant}: the gate has a condition on {metric}, which no test set measures")
        checks += [
            check_retention(manifest.task, reference.variant, each, gate.retention, is_confident=gate.confident)
            for each in scores
        ]
    if gate.smaller is not None:
        checks.append(_check("times smaller", times_smaller(manifest, reference), gate.smaller))
    if gate.faster is not None:
        checks.append(_check("times the tokens a second", _speed_up(manifest, reference), gate.faster))
    if gate.fewer_parameters is not None:
        removed = 1 - manifest.size.parameters / reference.size.parameters
        checks.append(_check("share of parameters removed", removed, gate.fewer_parameters))
    return _verdict(checks)


def check_retention(task: Task, base: str, score: QualityScore, limit: float, *, is_confident: bool = False) -> Check:
    """Checks the retention on one data set. `base` is the name of the base model, for the warnings."""
    value = score.retention
    judged = value
    if is_confident:
        judged = score.retention_interval[0] if score.retention_interval is not None else None
    checked = _check(f"retention of {score.metric} on {score.dataset}", value, limit)
    warnings = [baseline_warning(task, base, score), _small_sample_warning(score, limit)]
    changes = {
        "metric": score.metric,
        "dataset": score.dataset,
        "interval": score.retention_interval,
        "is_confident": is_confident,
        "is_passed": judged is not None and judged >= limit,
        "warnings": [warning for warning in warnings if warning is not None],
    }
    return checked.model_copy(update=changes)


def confirmed_verdict(
    *, metric: str, dataset: str, limit: float, retention: float, interval: tuple[float, float], is_confirmed: bool
) -> Verdict:
    """Returns the verdict on a variant that `slimseq.evaluation.choice` tested against a bar.

    Args:
        metric: of the retention.
        dataset: that confirmed the choice.
        limit: the bar.
        retention: measured on the confirming half of the data.
        interval: its 95 % interval.
        is_confirmed: whether the test passed, which asks for more than a retention above the bar.
    """
    check = _check(f"retention of {metric} on {dataset}", retention, limit)
    changes = {"metric": metric, "dataset": dataset, "interval": interval, "is_confident": True}
    return _verdict([check.model_copy(update=changes | {"is_passed": is_confirmed})])


def renewed_verdict(manifest: Manifest, verdict: Verdict, scores: Sequence[QualityScore]) -> Verdict:
    """Returns the verdict with its checks of retention made anew from newer scores, with the same limits."""
    measured = {(score.metric, score.dataset): score for score in scores}
    base = label_of(manifest.reference) if manifest.reference is not None else "the base model"
    checks = []
    for check in verdict.checks:
        score = measured.get((check.metric or "", check.dataset or ""))
        if score is not None:
            check = check_retention(manifest.task, base, score, check.limit, is_confident=check.is_confident)
        checks.append(check)
    return _verdict(checks)


def baseline_warning(task: Task, base: str, score: MetricResult, *, is_base: bool = False) -> str | None:
    """Says that a base model scores no more than the trivial baseline. None if it scores more.

    The score is that of the base model, or of a variant that was measured in the same run.
    """
    value = score.value if is_base else reference_value(score)
    if score.baseline is None or value is None or value > score.baseline:
        return None
    dataset = f" on {score.dataset}" if isinstance(score, QualityScore) else ""
    return (
        f"{base} has {value:.2f} of {score.metric}{dataset}, no more than the trivial baseline "
        f"({BASELINE_NAME[task]}: {score.baseline:.2f}): what a variant keeps of that says nothing"
    )


def words_of(check: Check) -> str:
    """Returns the outcome of a check in a word or two. `Check.warnings` says what the outcome does not show."""
    if not check.is_passed:
        return "FAILS"
    return "holds, but see the warning" if check.warnings else "holds"


def times_smaller(manifest: Manifest, reference: Manifest) -> float | None:
    """Returns the reference's fp32 bytes divided by the bytes of a variant's smallest format; None without weights."""
    smallest = min(manifest.size.bytes_by_format.values(), default=0)
    return reference.size.fp32_bytes / smallest if smallest else None


def _small_sample_warning(score: QualityScore, limit: float) -> str | None:
    if score.retention_interval is None:
        return None
    low, high = score.retention_interval
    margin, half = 1 - limit, (high - low) / 2
    if half <= margin or not low < limit <= high:
        return None
    return (
        f"{score.samples:,} samples of {score.dataset} are too few for this limit: the 95 % interval is {low:.3f} to "
        f"{high:.3f}, \N{PLUS-MINUS SIGN}{half:.3f}, and the limit leaves {max(margin, 0.0):.3f} below 1"
    )


def _speed_up(manifest: Manifest, reference: Manifest) -> float | None:
    if not manifest.performance or not reference.performance:
        raise NotMeasured(f"{manifest.variant}: the gate has a condition on speed, which was not measured")
    found = speed_up_for_gate(manifest, reference)
    if found is None:
        raise NotMeasured(f"{manifest.variant}: no run measured its speed beside that of {reference.variant}")
    return found.speed_up


def _verdict(checks: list[Check]) -> Verdict:
    passed = all(check.is_passed for check in checks)
    return Verdict(status="passed" if passed else "rejected", checks=checks)


def _check(name: str, value: float | None, limit: float) -> Check:
    """Checks a value. An undefined value, such as the retention of a reference that scores 0, does not pass."""
    if value is None:
        return Check(name=name, value=None, limit=limit, is_passed=False)
    return Check(name=name, value=round(value, 4), limit=limit, is_passed=value >= limit)
