"""The window of latencies, and the agreement of live outputs."""

from unittest.mock import Mock

from slimseq.app.observability.live_agreement import AgreementMonitor, ComparedArtifacts
from slimseq.app.observability.service_metrics import LatencyWindow
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.models_store.manifest import Task


def test_percentiles_are_of_each_phase() -> None:
    window = LatencyWindow(60)
    # With 101 values, percentile p is the value p + 1.
    for number in range(1, 102):
        window.record(Task.TRANSLATION, "original", 1.0, float(number), 2.0 * number)

    (latency,) = window.report().latencies

    assert latency.count == 101
    assert (latency.inference_ms.p50, latency.inference_ms.p95, latency.inference_ms.p99) == (51, 96, 100)
    assert (latency.queue_ms.p99, latency.total_ms.p50) == (1, 102)


def test_what_is_older_than_the_window_does_not_count() -> None:
    clock = Mock(return_value=0.0)
    window = LatencyWindow(60, clock)
    window.record(Task.TRANSLATION, "original", 1, 1, 1)
    clock.return_value = 40
    window.record(Task.TRANSLATION, "original", 9, 9, 9)
    clock.return_value = 80

    (latency,) = window.report().latencies

    assert latency.count == 1
    assert latency.total_ms.p50 == 9
    clock.return_value = 200
    assert window.report().latencies == []


QUANTIZED = ComparedArtifacts(Task.TRANSLATION, "quantized", "original")
HALF, WHOLE = OutputAgreement(is_exact=False, similarity=0.5), OutputAgreement(is_exact=True, similarity=1.0)


def test_a_new_reference_starts_the_measurement_again() -> None:
    monitor, other = AgreementMonitor(), QUANTIZED._replace(other="other")

    monitor.record(QUANTIZED, [HALF, HALF])
    monitor.record(other, [WHOLE])

    live = monitor.report(other)
    assert live is not None and (live.outputs, live.exact, live.similarity) == (1, 1.0, 1.0)
    assert monitor.report(QUANTIZED._replace(digest="b")) is None
    assert monitor.report(QUANTIZED._replace(task=Task.SUMMARIZATION)) is None
