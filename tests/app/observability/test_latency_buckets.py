import random
from collections import Counter

import numpy as np
import pytest

from slimseq.app.observability.latency_buckets import bucket_of, percentile


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.99])
def test_percentiles_are_right_within_one_percent(share: float) -> None:
    draw = random.Random(0)
    latencies = [draw.lognormvariate(3, 1) for _ in range(5000)]

    found = percentile(Counter(map(bucket_of, latencies)), share)

    assert found == pytest.approx(float(np.percentile(latencies, share * 100, method="inverted_cdf")), rel=0.0101)


def test_one_latency_is_every_percentile() -> None:
    counts = {bucket_of(25.0): 1}

    assert [percentile(counts, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([25.0] * 3, rel=0.01)


def test_no_latency_is_below_the_least_bucket() -> None:
    assert bucket_of(0.0) == bucket_of(0.0005) == 0
    assert bucket_of(3_600_000) < 1200
