"""Bootstrap intervals of scores and of retentions."""

import numpy as np
import pytest

from slimseq.evaluation.bootstrap import RESAMPLES, SEED, interval, retention
from slimseq.evaluation.metrics import MetricStatistics, Statistics, score
from slimseq.models_store.manifest import Task

SOURCES = [f"Die {animal} schlafen {place}." for animal in ("Katzen", "Hunde", "Enten") for place in ("hier", "dort")]
OUTPUTS = [text.replace("Enten", "Vögel").replace("dort", "da") for text in SOURCES]


def mean_of(values: Statistics) -> MetricStatistics:
    """A metric whose corpus value is the mean of each sample's, as ROUGE's is."""
    return MetricStatistics(
        metric="mean",
        signature="",
        per_sample=np.stack([values, np.ones_like(values)], axis=1),
        value_of=lambda sums: np.asarray(sums[:, 0] / sums[:, 1], dtype=np.float64),
    )


def test_the_interval_of_bleu_is_that_of_scoring_each_resampled_corpus() -> None:
    random = np.random.default_rng(SEED)
    bleu = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(OUTPUTS), size=len(OUTPUTS))
        resampled = score(Task.TRANSLATION, [OUTPUTS[i] for i in drawn], [SOURCES[i] for i in drawn])
        bleu.append(resampled["bleu"].value)

    measured = interval(score(Task.TRANSLATION, OUTPUTS, SOURCES)["bleu"])

    assert measured == pytest.approx(tuple(np.percentile(bleu, (2.5, 97.5))))


def test_one_sample_has_no_spread() -> None:
    one = mean_of(np.array([30.0]))

    assert interval(one) == (30.0, 30.0)
    assert retention(mean_of(np.array([27.0])), one) == (0.9, (0.9, 0.9))


def test_a_variant_that_loses_the_same_part_everywhere_has_a_narrow_retention() -> None:
    original = np.random.default_rng(0).uniform(5, 95, size=50)

    kept = retention(mean_of(original * 0.9), mean_of(original))

    assert kept is not None
    assert kept[0] == pytest.approx(0.9)
    assert kept[1] == pytest.approx((0.9, 0.9))


def test_nothing_is_a_part_of_an_original_that_scores_zero() -> None:
    assert retention(mean_of(np.array([1.0, 2.0])), mean_of(np.zeros(2))) is None


def test_resamples_on_which_the_original_scores_zero_do_not_count() -> None:
    kept = retention(mean_of(np.array([0.0, 40.0])), mean_of(np.array([0.0, 50.0])))

    assert kept == (0.8, (0.8, 0.8))


def test_different_samples_have_no_retention() -> None:
    with pytest.raises(ValueError, match="mean of 2 samples cannot be compared with mean of 3 samples"):
        retention(mean_of(np.ones(2)), mean_of(np.ones(3)))


def test_different_metrics_have_no_retention() -> None:
    chrf = score(Task.TRANSLATION, OUTPUTS, SOURCES)["chrf"]
    bleu = score(Task.TRANSLATION, OUTPUTS, SOURCES)["bleu"]

    with pytest.raises(ValueError, match="chrf of 6 samples cannot be compared with bleu of 6 samples"):
        retention(chrf, bleu)
