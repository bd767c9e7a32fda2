"""Quality gates: the conditions of a recipe, and the verdict on a variant that its manifest stores.

Nothing else decides or changes a verdict. The service shows the one of the manifest.
"""

from pydantic import BaseModel, ConfigDict, Field

from slimseq.evaluation.fastest import fastest_measurement, speed_ratio
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Check, Manifest, Verdict


class NotMeasured(SlimseqError):
    """Raised when a gate has a condition on something that was not measured. Names the variant and the condition."""


class Gate(BaseModel):
    """The conditions that a variant must meet, relative to its reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    retention: float | None = Field(default=None, gt=0)
    """Minimum retention of the metric, on every test set."""
    metric: str | None = None
    """Metric of the retention. By default the task's primary metric."""
    smaller: float | None = Field(default=None, gt=0)
    """Minimum ratio of the reference's bytes in fp32 to the variant's bytes as served."""
    faster: float | None = Field(default=None, gt=0)
    """Minimum ratio of output tokens a second to the reference's."""
    fewer_parameters: float | None = Field(default=None, gt=0, lt=1)
    """Minimum share of parameters removed."""


def verdict_on(manifest: Manifest, reference: Manifest, gate: Gate) -> Verdict:
    """Checks every condition of a gate on a variant, against the root of its lineage."""
    checks: list[Check] = []
    if gate.retention is not None:
        metric = gate.metric or PRIMARY_METRIC[manifest.task]
        scores = [score for score in manifest.quality if score.metric == metric]
        if not scores:
            raise NotMeasured(f"{manifest.variant}: the gate has a condition on {metric}, which no test set measures")
        checks += [
            _check(f"retention of {metric} on {each.dataset}", each.retention, gate.retention) for each in scores
        ]
    if gate.smaller is not None:
        checks.append(_check("times smaller", times_smaller(manifest, reference), gate.smaller))
    if gate.faster is not None:
        checks.append(_check("times the tokens a second", _speed_up(manifest, reference), gate.faster))
    if gate.fewer_parameters is not None:
        removed = 1 - manifest.size.parameters / reference.size.parameters
        checks.append(_check("share of parameters removed", removed, gate.fewer_parameters))
    passed = all(check.is_passed for check in checks)
    return Verdict(status="passed" if passed else "rejected", checks=checks)


def times_smaller(manifest: Manifest, reference: Manifest) -> float | None:
    """Returns the reference's fp32 bytes divided by the bytes of a variant's smallest format; None without weights."""
    smallest = min(manifest.size.bytes_by_format.values(), default=0)
    return reference.size.fp32_bytes / smallest if smallest else None


def _speed_up(manifest: Manifest, reference: Manifest) -> float:
    measured = fastest_measurement(manifest)
    if measured is None or not reference.performance:
        raise NotMeasured(f"{manifest.variant}: the gate has a condition on speed, which was not measured")
    ratio = speed_ratio(measured, manifest, reference)
    if ratio is None:
        raise NotMeasured(f"{manifest.variant}: the speed of its reference was measured in other settings")
    return ratio


def _check(name: str, value: float | None, limit: float) -> Check:
    """Checks a value. One that is undefined, such as the retention of a reference that scores 0, does not pass."""
    if value is None:
        return Check(name=name, value=None, limit=limit, is_passed=False)
    return Check(name=name, value=round(value, 4), limit=limit, is_passed=value >= limit)
