import pytest

from app.serving.gates import gate, retention
from models_store.manifest import Task
from tests.app.serving.artifacts import manifest, score


def test_the_original_keeps_all_of_itself_and_is_the_reference() -> None:
    assert retention(manifest()) == 1.0
    assert gate(manifest()).verdict == "reference" and gate(manifest()).least_retention is None


@pytest.mark.parametrize(
    ("technique", "kept", "verdict"),
    [
        ("quantize", 0.99, "passed"),
        ("quantize", 0.9899, "failed"),
        ("prune", 0.95, "passed"),
        ("prune", 0.9499, "failed"),
        ("distill", 0.96, "passed"),
        ("distill", 0.9599, "failed"),
        ("quantize", None, "unmeasured"),
        ("import", 0.5, "reference"),
    ],
)
def test_a_variant_is_judged_by_its_last_technique(technique: str, kept: float | None, verdict: str) -> None:
    judged = gate(manifest(variant="small", technique=technique, quality=[score(kept)]))

    assert (judged.verdict, judged.retention, judged.metric) == (verdict, kept, "bleu")


def test_the_worst_data_set_counts_and_only_the_primary_metric() -> None:
    scores = [score(0.99), score(0.97, dataset="news"), score(0.5, metric="chrf")]

    assert retention(manifest(variant="small", quality=scores)) == 0.97
    summaries = [score(0.98, metric="rougeL"), score(0.1, metric="rouge1")]
    assert retention(manifest(Task.SUMMARIZATION, variant="small", quality=summaries)) == 0.98


def test_a_later_measurement_replaces_an_earlier_one() -> None:
    scores = [score(0.99, measured_at="2026-02-01T00:00:00Z"), score(0.90, measured_at="2026-01-01T00:00:00Z")]

    assert retention(manifest(variant="small", quality=scores)) == 0.99
