"""Percentile bootstrap intervals of metrics and of retention.

Resampling is paired: two systems are compared on the same 1,000 resampled corpora, so that the difficulty of samples
cancels out (Koehn 2004, https://aclanthology.org/W04-3250).
"""

from collections.abc import Sequence

import numpy as np

from slimseq.evaluation.metrics import MetricStatistics, Statistics

RESAMPLES = 1000
SEED = 12345
PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]


def interval(statistics: MetricStatistics) -> Interval:
    """Returns the 95 % interval of a metric's value. With fewer than two samples both bounds are the value."""
    if statistics.samples < 2:
        return statistics.value, statistics.value
    return _between(statistics.value_of(resampled_sums(statistics.per_sample)))


def retention(variant: MetricStatistics, reference: MetricStatistics) -> tuple[float, Interval] | None:
    """Returns a variant's value divided by its reference's value, with the paired 95 % interval.

    Both scores are of the same metric, on the same samples in the same order. Returns None if the reference's value is
    not positive. With fewer than two samples both bounds are the ratio. Resampled corpora on which the reference's
    value is not positive are ignored.

    Raises:
        ValueError: the two are of different metrics, or of different numbers of samples.
    """
    check_pair(variant, reference)
    if reference.value <= 0:
        return None
    ratio = variant.value / reference.value
    if variant.samples < 2:
        return ratio, (ratio, ratio)
    (resamples,) = retention_resamples([variant], reference)
    return ratio, _between(resamples)


def retention_resamples(variants: Sequence[MetricStatistics], reference: MetricStatistics) -> list[Statistics]:
    """Returns the retention of each variant on the resampled corpora on which the reference's value is positive.

    Raises:
        ValueError: two of them are of different metrics, or of different numbers of samples.
    """
    for variant in variants:
        check_pair(variant, reference)
    # Drawing samples takes longer than summing them, so all systems are summed in one pass.
    systems = [reference, *variants]
    sums = resampled_sums(np.hstack([each.per_sample for each in systems]))
    ends = np.cumsum([each.per_sample.shape[1] for each in systems])
    parts = np.split(sums, ends[:-1], axis=1)
    below, *above = (each.value_of(part) for each, part in zip(systems, parts, strict=True))
    return [values[below > 0] / below[below > 0] for values in above]


def check_pair(variant: MetricStatistics, reference: MetricStatistics) -> None:
    """Refuses two systems whose samples cannot be paired.

    Raises:
        ValueError: the two are of different metrics, or of different numbers of samples.
    """
    if (variant.metric, variant.samples) != (reference.metric, reference.samples):
        raise ValueError(
            f"{variant.metric} of {variant.samples} samples cannot be compared with"
            f" {reference.metric} of {reference.samples} samples"
        )


def resampled_sums(per_sample: Statistics) -> Statistics:
    """Resamples corpora `(samples, statistics)` with replacement and sums them; returns `(RESAMPLES, statistics)`.

    The seed is fixed and the draws depend only on the number of samples, so that two systems get the same corpora.
    """
    random = np.random.default_rng(SEED)
    samples = len(per_sample)
    draws = (random.integers(samples, size=samples) for _ in range(RESAMPLES))
    return np.stack([np.bincount(drawn, minlength=samples) @ per_sample for drawn in draws])


def _between(values: Statistics) -> Interval:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)
