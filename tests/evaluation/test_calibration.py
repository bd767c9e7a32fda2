"""The confidence's map: it never falls, has few points, and says how good it is."""

from collections.abc import Sequence

import numpy as np
import pytest

from slimseq.evaluation import calibration
from slimseq.evaluation.calibration import MAX_GROUPS, MIN_SAMPLES, CannotCalibrate, Values, fit_points
from slimseq.inference.generator import TextOutput
from slimseq.models_store.measurements import ConfidenceCalibration
from tests.measured import score

WORDS = [f"word{number}" for number in range(20)]


def fit_confidence(
    means: Sequence[float | None], outputs: Sequence[str], targets: Sequence[str]
) -> ConfidenceCalibration:
    found = [TextOutput(text, "eos", 9, 9, False, (), mean) for mean, text in zip(means, outputs, strict=True)]
    return calibration.fit_confidence(score(50.0), found, targets)


def outputs_and_targets(samples: int) -> tuple[list[float | None], list[str], list[str]]:
    """Outputs that share the more words with their target, the more probable they are."""
    drawn = np.random.default_rng(0)
    shares = drawn.integers(0, 11, samples)
    targets = [" ".join(drawn.choice(WORDS, 10, replace=False)) for _ in range(samples)]
    outputs = [
        " ".join([*target.split()[:share], *["other"] * int(10 - share)])
        for share, target in zip(shares, targets, strict=True)
    ]
    return [-2 + share / 10 + drawn.normal(scale=0.1) for share in shares], outputs, targets


@pytest.fixture(scope="module")
def fitted() -> ConfidenceCalibration:
    return fit_confidence(*outputs_and_targets(300))


def test_more_probable_outputs_get_a_higher_expected_quality(fitted: ConfidenceCalibration) -> None:
    places = [place for place, _ in fitted.points]
    qualities = [quality for _, quality in fitted.points]

    assert places == sorted(set(places))
    assert qualities == sorted(set(qualities))
    # The drawn outputs share between none and all of their words with the target.
    assert qualities[0] < 0.3
    assert qualities[-1] > 0.8


def test_a_map_has_few_points(fitted: ConfidenceCalibration) -> None:
    assert 3 <= len(fitted.points) <= MAX_GROUPS


def test_a_map_says_by_which_metric_and_how_many_outputs_it_was_fitted(fitted: ConfidenceCalibration) -> None:
    assert (fitted.metric, fitted.samples) == ("chrf", 300)
    assert "nrefs:1" in fitted.signature


def test_a_map_says_how_well_log_probabilities_rank_outputs(fitted: ConfidenceCalibration) -> None:
    correlations = [(fitted.spearman, fitted.spearman_interval), (fitted.pearson, fitted.pearson_interval)]

    for correlation, (low, high) in correlations:
        assert correlation > 0.8
        assert low < correlation < high <= 1


def test_a_map_says_how_far_it_is_off_on_outputs_that_it_was_not_fitted_to(fitted: ConfidenceCalibration) -> None:
    # The log-probabilities have noise with a standard deviation of 0.1, which is one word of ten.
    assert 0 < fitted.calibration_error < 0.06


def test_log_probabilities_that_say_nothing_give_no_order_and_a_flat_map() -> None:
    _, outputs, targets = outputs_and_targets(300)
    drawn = np.random.default_rng(5).normal(size=300).tolist()

    fitted = fit_confidence(drawn, outputs, targets)

    low, high = fitted.spearman_interval
    assert low < 0 < high
    assert fitted.points[-1][1] - fitted.points[0][1] < 0.3


def test_equally_probable_outputs_share_a_point() -> None:
    places = np.array([-1.0] * 55 + [-0.5] * 45)
    qualities = np.tile([0.2, 0.4], 50)
    qualities[55:] += 0.4

    points = fit_points(places, qualities)

    assert [place for place, _ in points] == [-1.0, -0.5]


def test_the_map_is_that_of_isotonic_regression_where_every_output_is_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimseq.evaluation.calibration.MAX_GROUPS", 60)
    monkeypatch.setattr("slimseq.evaluation.calibration.MIN_GROUP_SAMPLES", 1)
    drawn = np.random.default_rng(1)
    places = np.sort(drawn.normal(size=60))
    qualities = np.clip(0.5 + places / 4 + drawn.normal(scale=0.2, size=60), 0, 1)

    points = fit_points(places, qualities)

    found = {round(quality, 9) for _, quality in points}
    wanted = {round(isotonic_regression(qualities, place), 9) for place in range(60)}
    assert found == wanted


def isotonic_regression(qualities: Values, place: int) -> float:
    """Returns the value of the regression at a place by its max-min formula (Barlow et al. 1972).

    For each start up to the place, it takes the smallest mean between the start and any end from the place on. The
    value is the largest of these means.
    """
    smallest_means = []
    for start in range(place + 1):
        means = [float(qualities[start:end].mean()) for end in range(place + 1, len(qualities) + 1)]
        smallest_means.append(min(means))
    return max(smallest_means)


@pytest.mark.parametrize("samples", [1, MIN_SAMPLES - 1])
def test_too_few_outputs_are_refused_with_their_number(samples: int) -> None:
    with pytest.raises(CannotCalibrate, match=f"at least {MIN_SAMPLES} outputs with a log-probability.* {samples}$"):
        fit_confidence(*outputs_and_targets(samples))


def test_a_runtime_that_does_not_say_is_named_as_the_reason() -> None:
    _, outputs, targets = outputs_and_targets(100)

    with pytest.raises(CannotCalibrate, match="there are 0: the runtime does not say how probable its outputs are"):
        fit_confidence([None] * 100, outputs, targets)


def test_outputs_with_the_same_log_probability_are_refused() -> None:
    _, outputs, targets = outputs_and_targets(60)

    with pytest.raises(CannotCalibrate, match="all 60 outputs have the same log-probability, -1"):
        fit_confidence([-1.0] * 60, outputs, targets)


def test_outputs_with_the_same_quality_are_refused() -> None:
    means, _, targets = outputs_and_targets(60)

    with pytest.raises(CannotCalibrate, match="all 60 outputs have the same chrf, 0"):
        fit_confidence(means, ["¤"] * 60, targets)


def test_outputs_without_a_log_probability_are_left_out() -> None:
    means, outputs, targets = outputs_and_targets(100)

    fitted = fit_confidence([None, *means[1:]], ["", *outputs[1:]], targets)

    assert fitted.samples == 99
