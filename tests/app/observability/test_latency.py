import random
from collections import Counter

import numpy as np
import pytest

from slimseq.app.observability.agreement import AgreementMonitor, ComparedArtifacts
from slimseq.app.observability.latency import LatencyWindow, bucket_of, percentile
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.models_store.manifest import Task


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_percentiles_are_of_each_phase() -> None:
    window = LatencyWindow(60)
    for number in range(1, 102):
        window.record(Task.TRANSLATION, "original", 1.0, float(number), 2.0 * number)

    (latency,) = window.report().latencies

    assert latency.count == 101
    assert (latency.inference_ms.p50, latency.inference_ms.p95, latency.inference_ms.p99) == (51, 96, 100)
    assert (latency.queue_ms.p99, latency.total_ms.p50) == (1, 102)


def test_what_is_older_than_the_window_does_not_count() -> None:
    clock = Clock()
    window = LatencyWindow(60, clock)
    window.record(Task.TRANSLATION, "original", 1, 1, 1)
    clock.now = 40
    window.record(Task.TRANSLATION, "original", 9, 9, 9)
    clock.now = 80

    (latency,) = window.report().latencies

    assert latency.count == 1 and latency.total_ms.p50 == 9
    clock.now = 200
    assert window.report().latencies == []


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


QUANTIZED = ComparedArtifacts(Task.TRANSLATION, "quantized", "original")
HALF, WHOLE = OutputAgreement(is_exact=False, similarity=0.5), OutputAgreement(is_exact=True, similarity=1.0)


def test_a_new_reference_starts_the_measurement_again() -> None:
    monitor, other = AgreementMonitor(), QUANTIZED._replace(reference="other")

    monitor.record(QUANTIZED, [HALF, HALF])
    monitor.record(other, [WHOLE])

    live = monitor.report(other)
    assert live is not None and (live.outputs, live.exact, live.similarity) == (1, 1.0, 1.0)
    assert monitor.report(QUANTIZED._replace(digest="b")) is None
    assert monitor.report(QUANTIZED._replace(task=Task.SUMMARIZATION)) is None
