"""What manifests record of quality, as the service shows it: what a variant keeps of its reference, and its gate."""

from collections.abc import Iterable, Sequence

from slimseq.app.http.schemas.quality import Gate, Quality, ReferenceModel, Retention
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.evaluation.record import recorded_scores
from slimseq.models_store.manifest import Manifest, QualityScore
from slimseq.models_store.roots import is_root, reference_of, root_of


def retention(manifest: Manifest, manifests: Iterable[Manifest]) -> Retention | None:
    """Returns the least retention of the primary metric over the recorded data sets, None where none is recorded.

    A reference keeps all of itself. Of several records of one data set, the one measured last counts.

    Args:
        manifest: of the variant.
        manifests: of the store that holds it.
    """
    metric = PRIMARY_METRIC[manifest.task]
    if is_root(manifest):
        return Retention(metric=metric, value=1.0, interval=(1.0, 1.0), dataset=None)
    latest: dict[tuple[str, str], QualityScore] = {}
    for score in sorted(recorded_scores(manifest, manifests), key=lambda score: score.measured_at):
        if score.metric == metric and score.retention is not None:
            latest[score.dataset, score.split] = score
    found = [
        Retention(
            metric=metric,
            value=score.retention,
            interval=score.retention_interval,
            dataset=score.dataset,
            split=score.split,
            samples=score.samples,
        )
        for score in latest.values()
        if score.retention is not None
    ]
    return min(found, key=lambda each: each.value, default=None)


def gate(manifest: Manifest) -> Gate:
    """Returns the gate that a recipe applied, or that none was."""
    if manifest.gate is not None:
        return Gate(verdict=manifest.gate.status, checks=manifest.gate.checks)
    return Gate(verdict="reference" if is_root(manifest) else "none", checks=[])


def quality_of(manifest: Manifest, manifests: Iterable[Manifest]) -> Quality:
    """Returns what a variant keeps, and its gate."""
    return Quality(retention=retention(manifest, manifests), gate=gate(manifest))


def shown_reference(manifest: Manifest, manifests: Sequence[Manifest]) -> ReferenceModel:
    """Returns the root of a variant's lineage, and whether the store holds it."""
    found = reference_of(manifest, manifests)
    is_stored = root_of(manifest, manifests) is not None
    return ReferenceModel(variant=found.variant, digest=found.digest, is_stored=is_stored)
