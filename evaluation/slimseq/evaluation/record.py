"""Puts measured quality into an artifact's manifest, and reads it from there for the service and the reports."""

from collections.abc import Iterable, Sequence

from slimseq.models_store.manifest import Manifest, QualityScore, Task
from slimseq.models_store.roots import reference_of
from slimseq.models_store.store import Store

# What older scores, which do not say it, are relative to.
OLD_REFERENCE = "original"


def record(store: Store, task: Task, variant: str, scores: Sequence[QualityScore]) -> None:
    """Adds scores to a manifest, in place of earlier ones of the same metric, data set, split, samples and runtime.

    Raises:
        UnknownVariant, InvalidArtifact: as `Store.manifest` and `Store.rewrite_manifest` do.
    """
    manifest = store.manifest(task, variant)
    replaced = {_measured(score) for score in scores}
    kept = [score for score in manifest.quality if _measured(score) not in replaced]
    store.rewrite_manifest(manifest.model_copy(update={"quality": [*kept, *scores]}))


def recorded_scores(manifest: Manifest, manifests: Iterable[Manifest]) -> list[QualityScore]:
    """Returns an artifact's scores, without the retention of those that were compared with another than its reference.

    Args:
        manifest: of the artifact.
        manifests: of the store that holds it.
    """
    manifests = list(manifests)
    digest = reference_of(manifest, manifests).digest
    old = [each.digest for each in manifests if each.task is manifest.task and each.variant == OLD_REFERENCE]
    is_old_reference = not old or digest in old
    return [
        score if (score.reference == digest if score.reference else is_old_reference) else _without_retention(score)
        for score in manifest.quality
    ]


def _without_retention(score: QualityScore) -> QualityScore:
    return score.model_copy(update={"retention": None, "retention_interval": None, "p_value": None})


def _measured(score: QualityScore) -> tuple[str, str, int, str, str]:
    return score.dataset, score.split, score.samples, score.metric, score.runtime
