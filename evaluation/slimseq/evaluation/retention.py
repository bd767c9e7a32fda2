"""What a variant keeps of its base model's quality, as its manifest records it.

A variant has one headline: its lowest retention of all test sets. The metric of the headline is the metric that the
gates of the base model's variants name. The page, the tables, the API and `min_retention` all use `least_retention`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from slimseq.evaluation.datasets import BUNDLED_SAMPLES, DEV_SPLITS
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.models_store.lineage import is_root, reference_of
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import MetricResult, QualityScore

# Splits that a model was trained or chosen on.
NO_TEST_SPLITS = DEV_SPLITS | {"train"}


def recorded_scores(manifest: Manifest, manifests: Iterable[Manifest]) -> list[QualityScore]:
    """Returns an artifact's scores. Retention and agreement with another reference are left out."""
    digest = reference_of(manifest, manifests).digest
    unknown = dict.fromkeys(("retention", "retention_interval", "p_value", "agreement"))
    return [
        score if score.reference in (None, digest) else score.model_copy(update=unknown) for score in manifest.quality
    ]


def headline_metric(group: Sequence[Manifest]) -> str:
    """Returns the metric of the headlines of one base model's variants, which are the `group`.

    It is the metric that most of the variants' gates name, so that a gate's limit and the headline are about the same
    metric. Without gates it is the task's primary metric.
    """
    primary = PRIMARY_METRIC[group[0].task]
    named: Counter[str] = Counter()
    for manifest in group:
        checks = manifest.gate.checks if manifest.gate is not None else []
        named.update({check.metric for check in checks if check.metric is not None})
    return max(named, key=lambda metric: (named[metric], metric == primary), default=primary)


def least_retention(manifest: Manifest, manifests: Sequence[Manifest], metric: str) -> QualityScore | None:
    """Returns the score with the least retention of a metric, over all test sets. None if no retention is recorded.

    If there are several scores on one data set, the last measured score counts. Dev data and the small bundled samples
    count only if there is no test set.
    """
    scores = [score for score in recorded_scores(manifest, manifests) if score.metric == metric]
    latest = scores_on_test_sets(score for score in scores if score.retention is not None)
    return min(latest, key=lambda score: score.retention or 0.0, default=None)


def least_agreement(manifest: Manifest, manifests: Iterable[Manifest]) -> QualityScore | None:
    """Returns the score with the least agreement with the reference, of the test sets that `least_retention` takes.

    Agreement of the reference itself is not recorded.
    """
    scores = [] if is_root(manifest) else recorded_scores(manifest, manifests)
    latest = scores_on_test_sets(score for score in scores if score.agreement is not None)
    return min(latest, key=lambda score: score.agreement.similarity if score.agreement else 1.0, default=None)


def retention_of(manifest: Manifest, manifests: Sequence[Manifest], metric: str) -> float | None:
    """Returns a variant's least retention: 1 for a base model, None if it was not measured."""
    if is_root(manifest):
        return 1.0
    score = least_retention(manifest, manifests, metric)
    return score.retention if score is not None else None


def reference_value(score: MetricResult) -> float | None:
    """Returns what the base model scored in the same run, which a score's retention is relative to."""
    return score.value / score.retention if score.retention else None


def scores_on_test_sets(scores: Iterable[QualityScore]) -> list[QualityScore]:
    """Returns the last score on each test set. If there is no test set, the last score on each other data set."""
    latest = {
        (each.dataset, each.split, each.metric): each for each in sorted(scores, key=lambda each: each.measured_at)
    }
    bundled = {name for _, name in BUNDLED_SAMPLES}
    tests = [each for each in latest.values() if each.dataset not in bundled and each.split not in NO_TEST_SPLITS]
    return tests or list(latest.values())
