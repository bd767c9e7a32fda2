"""A paired significance test of the difference between two systems, on corpus values.

The result is a two-sided p-value between 1 / (trials + 1) and 1: the probability of a difference at least as large as
the observed difference if the systems were the same. The test uses corpus values, so that BLEU is corpus BLEU and not a
mean of sentence scores. The seed is fixed: the same outputs give the same p-value.
"""

from collections.abc import Iterator

import numpy as np

from slimseq.evaluation.bootstrap import check_pair
from slimseq.evaluation.metrics import MetricStatistics, Statistics

RANDOMIZATION_TRIALS = 10_000
# With fewer samples there is no p-value. The number is a convention.
MIN_SAMPLES = 30
SEED = 12345
# Trials and coin flips of one chunk: 64 MB for any number of samples.
CHUNK_TRIALS = 500
CHUNK_FLIPS = 4_000_000
# Smaller differences, in points of the metric, are floating-point errors.
TOLERANCE = 1e-9


def randomization_p_value(variant: MetricStatistics, original: MetricStatistics) -> float:
    """Tests by paired approximate randomization: swaps the two outputs of each sample with probability 1/2.

    This test has fewer false positives than the bootstrap test (Riezler and Maxwell 2005, https://aclanthology.org/W05-0908).
    Both systems have statistics of the same metric on the same samples in the same order. The p-value is two-sided,
    over 10,000 trials.

    Raises:
        ValueError: the two are of different metrics, or of different numbers of samples.
    """
    check_pair(variant, original)
    observed = abs(variant.value - original.value)
    totals = variant.per_sample.sum(axis=0), original.per_sample.sum(axis=0)
    as_extreme = 0
    for moved in _moved_by_swaps(variant.per_sample - original.per_sample):
        differences = variant.value_of(totals[0] - moved) - original.value_of(totals[1] + moved)
        as_extreme += int(np.count_nonzero(np.abs(differences) >= observed - TOLERANCE))
    return (as_extreme + 1) / (RANDOMIZATION_TRIALS + 1)


def _moved_by_swaps(difference: Statistics) -> Iterator[Statistics]:
    """Yields the amounts that random swaps move between the systems' sums, in chunks of `(trials, statistics)`."""
    random = np.random.default_rng(SEED)
    chunk = max(min(CHUNK_TRIALS, CHUNK_FLIPS // len(difference)), 1)
    for start in range(0, RANDOMIZATION_TRIALS, chunk):
        trials = min(chunk, RANDOMIZATION_TRIALS - start)
        yield random.integers(2, size=(trials, len(difference))).astype(np.float64) @ difference
