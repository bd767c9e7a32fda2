"""Whether two systems really differ: paired tests on the same samples, from statistics that add up to corpus values.

Both tests ask how often chance alone would make a difference as large as the one seen, in either direction, and answer
with a p-value between 1 / (trials + 1) and 1. They work on corpus values, so that BLEU is tested as BLEU and not as a
mean of sentence scores. Seeds are fixed: the same outputs give the same p-value.
"""

from collections.abc import Iterator

import numpy as np

from slimseq.evaluation.bootstrap import resampled_sums
from slimseq.evaluation.metrics import MetricStatistics, Statistics

RANDOMIZATION_TRIALS = 10_000
SEED = 12345
# Trials at once, and their coins at once: 64 MB, whatever the number of samples.
CHUNK_TRIALS = 500
CHUNK_COINS = 4_000_000
# Differences of floating-point sums that would be equal in exact arithmetic count as equal. In points of the metric.
TOLERANCE = 1e-9


def randomization_p_value(variant: MetricStatistics, original: MetricStatistics) -> float:
    """Tests by paired approximate randomization: each sample's two outputs are swapped or not, by a fair coin.

    If the systems were alike, it would not matter whose output is whose. Riezler and Maxwell (2005,
    https://aclanthology.org/W05-0908) find it the safer of the two tests: it less often sees a difference in noise.

    Args:
        variant: one system's statistics.
        original: the other's, of the same metric on the same samples in the same order.

    Returns:
        The two-sided p-value over 10,000 trials.

    Raises:
        ValueError: the two do not measure the same.
    """
    observed = _observed_difference(variant, original)
    totals = variant.per_sample.sum(axis=0), original.per_sample.sum(axis=0)
    as_extreme = 0
    for moved in _moved_by_swaps(variant.per_sample - original.per_sample):
        differences = variant.value_of(totals[0] - moved) - original.value_of(totals[1] + moved)
        as_extreme += int(np.count_nonzero(np.abs(differences) >= observed - TOLERANCE))
    return (as_extreme + 1) / (RANDOMIZATION_TRIALS + 1)


def bootstrap_p_value(variant: MetricStatistics, original: MetricStatistics) -> float:
    """Tests by paired bootstrap: both systems are scored on the same corpora drawn with replacement.

    Koehn (2004, https://aclanthology.org/W04-3250) proposes the draws; as Riezler and Maxwell (2005) ask, their
    differences are moved to a mean of zero, which is what no difference would give.

    Args:
        variant: one system's statistics.
        original: the other's, of the same metric on the same samples in the same order.

    Returns:
        The two-sided p-value over the resamples of `slimseq.evaluation.bootstrap`; 1 with fewer than two samples, which
        have no spread.

    Raises:
        ValueError: the two do not measure the same.
    """
    observed = _observed_difference(variant, original)
    if variant.samples < 2:
        return 1.0
    above = variant.value_of(resampled_sums(variant.per_sample))
    below = original.value_of(resampled_sums(original.per_sample))
    differences = above - below
    centred = np.abs(differences - differences.mean())
    as_extreme = int(np.count_nonzero(centred >= observed - TOLERANCE))
    return (as_extreme + 1) / (len(differences) + 1)


def _observed_difference(variant: MetricStatistics, original: MetricStatistics) -> float:
    if (variant.metric, variant.samples) != (original.metric, original.samples):
        raise ValueError(
            f"{variant.metric} of {variant.samples} samples has no pairs with {original.metric} of {original.samples}"
        )
    return abs(variant.value - original.value)


def _moved_by_swaps(difference: Statistics) -> Iterator[Statistics]:
    """Yields what random swaps take from one system's sums and give to the other's, `(trials, statistics)` a chunk."""
    random = np.random.default_rng(SEED)
    chunk = max(min(CHUNK_TRIALS, CHUNK_COINS // len(difference)), 1)
    for start in range(0, RANDOMIZATION_TRIALS, chunk):
        trials = min(chunk, RANDOMIZATION_TRIALS - start)
        yield random.integers(2, size=(trials, len(difference))).astype(np.float64) @ difference
