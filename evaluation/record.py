"""Puts measured quality into an artifact's manifest, where the service and the reports read it."""

from collections.abc import Sequence

from models_store.manifest import QualityScore, Task
from models_store.store import Store


def record(store: Store, task: Task, variant: str, scores: Sequence[QualityScore]) -> None:
    """Adds scores to a manifest, in place of earlier ones of the same metric, data set, split, samples and runtime.

    Raises:
        UnknownVariant, InvalidArtifact: as `Store.manifest` and `Store.rewrite_manifest` do.
    """
    manifest = store.manifest(task, variant)
    replaced = {_measured(score) for score in scores}
    kept = [score for score in manifest.quality if _measured(score) not in replaced]
    store.rewrite_manifest(manifest.model_copy(update={"quality": [*kept, *scores]}))


def _measured(score: QualityScore) -> tuple[str, str, int, str, str]:
    return score.dataset, score.split, score.samples, score.metric, score.runtime
