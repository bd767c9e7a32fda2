"""What a variant keeps of its base model's quality, as its manifest records it.

A variant has one headline: its lowest retention of all test sets, of the metric that the gates of its base model's
variants name. The page, the tables, the API and `min_retention` all take it from `least_retention`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from slimseq.evaluation.datasets import BUNDLED_SAMPLES, DEV_SPLITS
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.models_store.lineage import is_root, reference_of
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import MetricResult, QualityScore

# What a model was trained or chosen on.
NO_TEST_SPLITS = DEV_SPLITS | {"train"}


def recorded_scores(manifest: Manifest, manifests: Iterable[Manifest]) -> list[QualityScore]:
    """Returns an artifact's scores, without retention and agreement where they are relative to another reference."""
    digest = reference_of(manifest, manifests).digest
    unknown = dict.fromkeys(("retention", "retention_interval", "p_value", "agreement"))
    return [
        score if score.reference in (None, digest) else score.model_copy(update=unknown) for score in manifest.quality
    ]


def headline_metric(group: Sequence[Manifest]) -> str:
    """Returns the metric whose retention stands for the variants of one base model, which are the `group`.

    It is the one that most of their gates name, so that a limit stands beside what it is the limit of. Without gates
    it is the task's primary metric.
    """
    primary = PRIMARY_METRIC[group[0].task]
    named: Counter[str] = Counter()
    for manifest in group:
        checks = manifest.gate.checks if manifest.gate is not None else []
        named.update({check.metric for check in checks if check.metric is not None})
    return max(named, key=lambda metric: (named[metric], metric == primary), default=primary)


def least_retention(manifest: Manifest, manifests: Sequence[Manifest], metric: str) -> QualityScore | None:
    """Returns the score with the least retention of a metric, of all test sets; None where none is recorded.

    Of several scores on one data set, the one measured last counts. Dev data and the small bundled samples count
    only where there is no test set.
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
    """Returns a variant's least retention: 1 for a base model, None where it was not measured."""
    if is_root(manifest):
        return 1.0
    score = least_retention(manifest, manifests, metric)
    return score.retention if score is not None else None


def reference_value(score: MetricResult) -> float | None:
    """Returns what the base model scored in the same run, which a score's retention is relative to."""
    return score.value / score.retention if score.retention else None


def scores_on_test_sets(scores: Iterable[QualityScore]) -> list[QualityScore]:
    """Returns the last score on each test set; those on other data where there is no test set."""
    latest = {
        (each.dataset, each.split, each.metric): each for each in sorted(scores, key=lambda each: each.measured_at)
    }
    bundled = {name for _, name in BUNDLED_SAMPLES}
    tests = [each for each in latest.values() if each.dataset not in bundled and each.split not in NO_TEST_SPLITS]
    return tests or list(latest.values())
