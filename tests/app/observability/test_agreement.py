"""What a process has measured: one sequence for each artifact and reference."""

from slimseq.app.observability.agreement import AgreementMonitor, ComparedArtifacts
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.models_store.manifest import Task

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
