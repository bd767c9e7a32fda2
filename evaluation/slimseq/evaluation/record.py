"""Writes measured quality to an artifact's manifest, and reads it for the service and the reports."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.models_store.lineage import is_root, reference_of
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import ConfidenceCalibration, Performance, QualityScore
from slimseq.models_store.store import Store

Measurement = TypeVar("Measurement", QualityScore, Performance)


def add_scores(
    store: Store, measured: Manifest, scores: Sequence[QualityScore], confidence: ConfidenceCalibration | None = None
) -> None:
    """Adds scores to a manifest, in place of earlier ones of the same metric, data set, split, samples and runtime.

    A new confidence takes the place of an earlier one.
    """
    replaced = {_measured(score) for score in scores}

    def added(manifest: Manifest) -> Manifest:
        kept = [score for score in manifest.quality if _measured(score) not in replaced]
        return manifest.model_copy(
            update={"quality": [*kept, *scores], "confidence": confidence or manifest.confidence}
        )

    store.update_manifest(measured, added)


def with_newest(manifest: Manifest, other: Manifest) -> Manifest:
    """Returns a manifest with what two manifests of the same files measured; of what both measured, the newer.

    If a gate judged the first one, its lineage and the verdict are kept.
    """
    base = other if manifest.gate is None else manifest
    measured = {
        "quality": _newest(manifest.quality, other.quality, _measured),
        "performance": _newest(manifest.performance, other.performance, speed_setting),
        "layouts": manifest.layouts or other.layouts,
        "confidence": max(
            (each.confidence for each in (manifest, other) if each.confidence is not None),
            key=lambda calibration: calibration.measured_at,
            default=None,
        ),
    }
    return base.model_copy(update=measured)


def speed_setting(performance: Performance) -> tuple[str, str, int, int, int]:
    """Returns what two measurements of a variant's speed have in common if the newer one replaces the other."""
    return performance.host, performance.runtime, performance.batch, performance.num_beams, performance.threads


def recorded_scores(manifest: Manifest, manifests: Iterable[Manifest]) -> list[QualityScore]:
    """Returns an artifact's scores, without retention and agreement where they are relative to another reference."""
    digest = reference_of(manifest, manifests).digest
    unknown = dict.fromkeys(("retention", "retention_interval", "p_value", "agreement"))
    return [
        score if score.reference in (None, digest) else score.model_copy(update=unknown) for score in manifest.quality
    ]


def least_retention(manifest: Manifest, manifests: Iterable[Manifest]) -> QualityScore | None:
    """Returns the score with the least retention of the primary metric, None where none is recorded.

    Of several scores on one data set, the one measured last counts.
    """
    scores = [score for score in recorded_scores(manifest, manifests) if score.metric == PRIMARY_METRIC[manifest.task]]
    latest = _latest(score for score in scores if score.retention is not None)
    return min(latest, key=lambda score: score.retention or 0.0, default=None)


def least_agreement(manifest: Manifest, manifests: Iterable[Manifest]) -> QualityScore | None:
    """Returns the score with the least agreement with the reference, as `least_retention` does.

    Agreement of the reference itself is not recorded.
    """
    scores = [] if is_root(manifest) else recorded_scores(manifest, manifests)
    latest = _latest(score for score in scores if score.agreement is not None)
    return min(latest, key=lambda score: score.agreement.similarity if score.agreement else 1.0, default=None)


def retention_of(manifest: Manifest, manifests: Iterable[Manifest]) -> float | None:
    """Returns a variant's least retention: 1 for a base model, None where it was not measured."""
    if is_root(manifest):
        return 1.0
    score = least_retention(manifest, manifests)
    return score.retention if score is not None else None


def _latest(scores: Iterable[QualityScore]) -> list[QualityScore]:
    return list(
        {(each.dataset, each.split): each for each in sorted(scores, key=lambda each: each.measured_at)}.values()
    )


def _measured(score: QualityScore) -> tuple[str, str, int, str, str]:
    return score.dataset, score.split, score.samples, score.metric, score.runtime


def _newest(
    own: Iterable[Measurement], others: Iterable[Measurement], key: Callable[[Measurement], object]
) -> list[Measurement]:
    found = {key(each): each for each in others}
    for each in own:
        other = found.setdefault(key(each), each)
        if each.measured_at > other.measured_at:
            found[key(each)] = each
    return list(found.values())
