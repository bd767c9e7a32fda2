"""Which recorded scores stand for the retention and the agreement of a variant."""

from typing import Any

from slimseq.evaluation.retention import headline_metric, least_agreement, least_retention, retention_of
from slimseq.models_store.manifest import Check, Manifest, Task, Verdict
from slimseq.models_store.measurements import MeanAgreement, QualityScore
from tests.app.serving.artifacts import manifest, score, variant_of

ORIGINAL = manifest()


def kept(judged: Manifest, *others: Manifest) -> float | None:
    manifests = [ORIGINAL, *others, judged]
    return retention_of(judged, manifests, headline_metric([judged]))


def small(*scores: QualityScore, **more: Any) -> Manifest:
    return variant_of(ORIGINAL, "small", quality=list(scores), **more)


def test_the_worst_data_set_counts_with_its_interval_and_only_the_primary_metric() -> None:
    scores = score(0.99, dataset="tatoeba"), score(0.97, dataset="news"), score(0.5, metric="chrf", dataset="news")

    found = least_retention(small(*scores), [ORIGINAL], "bleu")

    assert found is not None
    assert (found.retention, found.dataset, found.metric) == (0.97, "news", "bleu")
    assert found.retention_interval == (0.96, 0.98)


def test_the_small_sample_and_dev_data_count_only_where_there_is_no_test_set() -> None:
    sample, dev = score(0.9), score(0.91, dataset="dev.news", split="dev")

    assert kept(small(sample, dev, score(0.97, dataset="news"))) == 0.97
    assert kept(small(sample, dev)) == 0.9


def gated(metric: str) -> Manifest:
    check = Check(name=f"retention of {metric} on news", value=0.97, limit=0.95, is_passed=True)
    return small(
        score(0.93, dataset="news"),
        score(0.97, dataset="news", metric="chrf"),
        gate=Verdict(status="passed", checks=[check]),
    )


def test_the_metric_that_the_gates_judge_stands_for_the_variants_of_a_base_model() -> None:
    assert headline_metric([ORIGINAL, gated("chrf"), small(score(0.9))]) == "chrf"
    assert headline_metric([ORIGINAL, gated("chrf"), gated("bleu")]) == "bleu"
    assert headline_metric([ORIGINAL, small(score(0.9))]) == "bleu"
    assert kept(gated("chrf")) == 0.97
    assert kept(gated("bleu")) == 0.93


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


def agreeing(similarity: float, **more: Any) -> QualityScore:
    found = MeanAgreement(exact=0.5, similarity=similarity, interval=(similarity, 1.0), metric="chrf")
    return score(0.9, **more).model_copy(update={"agreement": found})


def test_the_data_set_with_the_least_agreement_counts_and_its_last_measurement() -> None:
    first = agreeing(0.1, measured_at="2026-01-01T00:00:00Z")
    scores = first, agreeing(0.9, measured_at="2026-02-01T00:00:00Z"), agreeing(0.8, dataset="news"), score(0.9)

    found = least_agreement(small(*scores), [ORIGINAL])

    assert found is not None
    assert found.agreement is not None
    assert (found.agreement.similarity, found.dataset) == (0.8, "news")
    assert least_agreement(small(score(0.9)), [ORIGINAL]) is None
    assert least_agreement(ORIGINAL.model_copy(update={"quality": [agreeing(1.0)]}), [ORIGINAL]) is None


def test_agreement_with_another_model_than_the_reference_does_not_count() -> None:
    opus = manifest(variant="opus")
    quality = [agreeing(0.1, reference=ORIGINAL.digest), agreeing(0.9, reference=opus.digest)]

    found = least_agreement(variant_of(opus, "opus-int8", quality=quality), [ORIGINAL, opus])

    assert found is not None
    assert found.reference == opus.digest


def test_what_was_compared_with_another_model_says_no_retention() -> None:
    opus = manifest(variant="opus")
    other = score(0.017, reference=ORIGINAL.digest)
    against_original = variant_of(opus, "opus-int8", quality=[other])
    against_opus = variant_of(opus, "opus-int8", quality=[other, score(0.99, reference=opus.digest)])

    assert kept(against_original, opus) is None
    assert kept(against_opus, opus) == 0.99
    assert kept(opus.model_copy(update={"quality": [score(9.0)]})) == 1.0
