"""Writes measured quality to an artifact's manifest. `slimseq.evaluation.retention` reads it."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from slimseq.evaluation.gate import renewed_verdict
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import ConfidenceCalibration, Performance, QualityScore
from slimseq.models_store.store import Store

Measurement = TypeVar("Measurement", QualityScore, Performance)


def add_scores(
    store: Store, measured: Manifest, scores: Sequence[QualityScore], confidence: ConfidenceCalibration | None = None
) -> None:
    """Adds scores to a manifest, in place of earlier ones of the same metric, data set, split, samples and runtime.

    A new confidence takes the place of an earlier one. A gate's checks follow the scores that are measured anew.
    """
    replaced = {_measured(score) for score in scores}

    def added(manifest: Manifest) -> Manifest:
        kept = [score for score in manifest.quality if _measured(score) not in replaced]
        repeated = {_measured(score) for score in manifest.quality} & replaced
        anew = [score for score in scores if _measured(score) in repeated]
        changes = {
            "quality": [*kept, *scores],
            "confidence": confidence or manifest.confidence,
            "gate": manifest.gate and renewed_verdict(manifest, manifest.gate, anew),
        }
        return manifest.model_copy(update=changes)

    store.update_manifest(measured, added)


def with_newest(manifest: Manifest, other: Manifest) -> Manifest:
    """Returns a manifest with the measurements of two manifests of the same files.

    A newer measurement replaces an older one. If a gate judged the first manifest, the result keeps the lineage and the
    verdict of that manifest.

    Raises:
        ValueError: the manifests are of different files, so that figures of one would be said of the other.
    """
    if manifest.digest != other.digest:
        raise ValueError(
            f"{manifest.variant} and {other.variant} are of different files: their figures cannot be joined"
        )
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


def speed_setting(performance: Performance) -> tuple[object, ...]:
    """Returns the key of a measurement of speed. A newer measurement with the same key replaces an older one.

    CPUs of one name with different instructions count as two machines.
    """
    machine = performance.host, tuple(sorted(performance.cpu_flags))
    return *machine, performance.runtime, performance.batch, performance.num_beams, performance.threads


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
