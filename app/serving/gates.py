"""How much quality a variant must keep, by the technique that made it, and whether its manifest shows that it does."""

from app.schemas.quality import Gate, Verdict
from evaluation.metrics import PRIMARY_METRIC
from models_store.manifest import Manifest, QualityScore

# The least retention of the primary metric after each last step of a lineage.
LEAST_RETENTION = {"quantize": 0.99, "prune": 0.95, "distill": 0.96}
REFERENCE = "original"


def primary_metric(manifest: Manifest) -> str:
    """Returns the metric that the artifact's task is judged by."""
    return PRIMARY_METRIC[manifest.task]


def retention(manifest: Manifest) -> float | None:
    """Returns the least retention of the primary metric over the recorded data sets, None where none is recorded.

    The original keeps all of itself. Of several records of one data set, the one measured last counts.
    """
    if manifest.variant == REFERENCE:
        return 1.0
    latest: dict[tuple[str, str], QualityScore] = {}
    for score in sorted(manifest.quality, key=lambda score: score.measured_at):
        if score.metric == primary_metric(manifest) and score.retention is not None:
            latest[score.dataset, score.split] = score
    return min((score.retention for score in latest.values() if score.retention is not None), default=None)


def least_retention(manifest: Manifest) -> float | None:
    """Returns what the artifact's gate asks for, None where its last technique has none."""
    if manifest.variant == REFERENCE or not manifest.lineage:
        return None
    return LEAST_RETENTION.get(manifest.lineage[-1].technique)


def gate(manifest: Manifest) -> Gate:
    """Returns what the artifact keeps, and whether that is what its last technique must keep."""
    technique = manifest.lineage[-1].technique if manifest.lineage else None
    kept, least = retention(manifest), least_retention(manifest)
    verdict: Verdict
    if manifest.gate is not None:
        verdict = "passed" if manifest.gate.status == "passed" else "failed"
    elif least is None:
        verdict = "reference"
    elif kept is None:
        verdict = "unmeasured"
    else:
        verdict = "passed" if kept >= least else "failed"
    return Gate(
        metric=primary_metric(manifest), technique=technique, least_retention=least, retention=kept, verdict=verdict
    )
