"""Percentiles of latencies of which only the number in each bucket is kept.

Each bucket is 2 % wider than the one below, so that a percentile is right within 1 %. This is the DDSketch of Masson,
Rim and Lee (2019, https://arxiv.org/abs/1908.10693).
"""

import math
from collections.abc import Mapping

WIDTH = 1.02
LEAST_MS = 0.001
# The place of requests that were not answered, beside the buckets.
ERRORS = -1


def bucket_of(milliseconds: float) -> int:
    """Returns the bucket of a latency, 0 or more."""
    return max(0, math.ceil(math.log(max(milliseconds, LEAST_MS) / LEAST_MS, WIDTH)))


def percentile(counts: Mapping[int, int], share: float) -> float:
    """Returns the latency in milliseconds that a share of all is not above.

    Args:
        counts: the number of latencies in each bucket. There is at least one.
        share: between 0 and 1.
    """
    rank = max(1, math.ceil(share * sum(counts.values())))
    bucket, seen = 0, 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            break
    # The middle, from which neither end of the bucket is further than 1 %.
    return LEAST_MS * 2 * WIDTH**bucket / (WIDTH + 1)
