from typing import Any

from slimseq.app.serving.quality import gate, retention
from slimseq.models_store.manifest import Check, Manifest, QualityScore, Task, Verdict
from tests.app.serving.artifacts import manifest, score, variant_of

ORIGINAL = manifest()


def kept(judged: Manifest, *others: Manifest) -> float | None:
    found = retention(judged, [ORIGINAL, *others, judged])
    return found.value if found is not None else None


def small(*scores: QualityScore, **more: Any) -> Manifest:
    return variant_of(ORIGINAL, "small", quality=list(scores), **more)


def test_a_base_model_keeps_all_of_itself_and_is_the_reference() -> None:
    assert kept(ORIGINAL) == 1.0
    assert gate(ORIGINAL).verdict == "reference" and gate(ORIGINAL).checks == []


def test_the_gate_shown_is_the_one_that_the_manifest_keeps() -> None:
    checks = [Check(name="retention of bleu on sample", value=0.97, limit=0.95, is_passed=True)]
    failed = [Check(name="times smaller", value=1.5, limit=3.5, is_passed=False)]

    passed = gate(small(score(0.97), technique="quantize", gate=Verdict(status="passed", checks=checks)))
    rejected = gate(small(score(1.2), gate=Verdict(status="rejected", checks=failed)))

    assert (passed.verdict, passed.checks) == ("passed", checks)
    assert (rejected.verdict, rejected.checks) == ("rejected", failed)


def test_no_gate_is_invented_for_a_technique() -> None:
    for technique in ("quantize", "prune", "distill"):
        assert gate(small(score(0.1), technique=technique)).verdict == "none"


def test_the_worst_data_set_counts_with_its_interval_and_only_the_primary_metric() -> None:
    found = retention(small(score(0.99), score(0.97, dataset="news"), score(0.5, metric="chrf")), [ORIGINAL])

    assert found is not None and (found.value, found.dataset, found.metric) == (0.97, "news", "bleu")
    assert found.interval == (0.96, 0.98)


def test_summaries_are_judged_by_rouge_l() -> None:
    original = manifest(Task.SUMMARIZATION)
    scores = [score(0.98, metric="rougeL"), score(0.1, metric="rouge1")]

    assert kept(variant_of(original, "small", quality=scores), original) == 0.98


def test_a_later_measurement_replaces_an_earlier_one() -> None:
    first, last = score(0.90, measured_at="2026-01-01T00:00:00Z"), score(0.99, measured_at="2026-02-01T00:00:00Z")

    assert kept(small(last, first)) == 0.99


def test_a_variant_that_was_not_measured_has_no_retention() -> None:
    assert kept(small()) is None
    assert kept(small(score(None))) is None


def test_what_was_compared_with_another_model_says_no_retention() -> None:
    opus = manifest(variant="opus")
    against_original = variant_of(opus, "opus-int8", quality=[score(0.017)])
    against_opus = variant_of(opus, "opus-int8", quality=[score(0.017), score(0.99, reference=opus.digest)])

    assert kept(against_original, opus) is None
    assert kept(against_opus, opus) == 0.99
    assert kept(opus.model_copy(update={"quality": [score(9.0)]})) == 1.0
