"""Coverage is simulated: an always-valid interval misses the mean, at any look, in at most alpha of the streams."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence, WinRate, difference, verdict

Values = NDArray[np.float64]
Random = np.random.Generator

STREAMS = 60
ALPHA = 0.1
# Each of the first values, later ones more rarely.
LOOKS = sorted({*range(1, 40), *np.geomspace(40, 1000, 50).astype(int).tolist()})
# The standard normal distribution has 5 % of its mass on either side of it.
DEVIATIONS = 1.645


def agreeing(random: Random, size: int) -> tuple[Values, Values]:
    """Values as agreements have: four of five are 1."""
    values = np.where(random.random(size) < 0.8, 1.0, random.beta(8, 2, size))
    return values, np.full(size, 0.8 + 0.2 * 0.8)


def coins(random: Random, size: int) -> tuple[Values, Values]:
    return (random.random(size) < 0.3).astype(np.float64), np.full(size, 0.3)


def drifting(random: Random, size: int) -> tuple[Values, Values]:
    """The expectation falls from 0.9 to 0.5, as when a service gets other texts."""
    expected = np.linspace(0.9, 0.5, size)
    return (random.random(size) < expected).astype(np.float64), expected


def stream_of(values: Values) -> ConfidenceSequence:
    stream = ConfidenceSequence()
    for value in values.tolist():
        stream.update(value)
    return stream


@pytest.mark.parametrize("draw", [agreeing, coins, drifting])
def test_the_mean_of_a_stream_is_in_the_interval_at_every_look(
    draw: Callable[[Random, int], tuple[Values, Values]],
) -> None:
    random = np.random.default_rng(7)
    missed = missed_by_usual = 0
    for _ in range(STREAMS):
        values, expected = draw(random, LOOKS[-1])
        means = np.cumsum(expected) / np.arange(1, len(expected) + 1)
        stream = ConfidenceSequence()
        misses, usual_misses = [], []
        for look, before in zip(LOOKS, [0, *LOOKS], strict=False):
            for value in values[before:look].tolist():
                stream.update(value)
            low, high = stream.interval(ALPHA)
            misses.append(not low <= means[look - 1] <= high)
            radius = DEVIATIONS * values[:look].std() / math.sqrt(look)
            usual_misses.append(abs(values[:look].mean() - means[look - 1]) > radius)
        missed += any(misses)
        missed_by_usual += any(usual_misses[20:])

    assert missed <= ALPHA * STREAMS
    # The simulation shows what it should: an interval for one look misses far more often.
    assert missed_by_usual > 2 * ALPHA * STREAMS


def test_values_outside_the_bounds_are_refused() -> None:
    stream = ConfidenceSequence()

    for value in (-0.01, 1.01, math.nan, math.inf):
        with pytest.raises(ValueError, match="is not between 0"):
            stream.update(value)

    assert stream == ConfidenceSequence()


def test_the_difference_of_two_arms_is_in_its_interval_at_every_look() -> None:
    random = np.random.default_rng(3)
    missed = 0
    for _ in range(60):
        first, second = ConfidenceSequence(), ConfidenceSequence()
        is_first = random.random(600) < 0.5
        values = np.where(is_first, random.random(600) < 0.6, random.random(600) < 0.5).astype(float)
        misses = []
        for number, (of_first, value) in enumerate(zip(is_first, values.tolist(), strict=True), 1):
            (first if of_first else second).update(value)
            if number % 30 == 0:
                low, high = difference(first, second, ALPHA)
                misses.append(not low <= 0.1 <= high)
        missed += any(misses)

    assert missed <= ALPHA * 60


@pytest.mark.parametrize("sizes", [(500, 500), (200, 1800), (30, 30)])
def test_the_interval_of_a_difference_is_narrower_than_the_difference_of_two_intervals(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    first, second = (stream_of(coins(random, size)[0]) for size in sizes)

    low, high = difference(first, second)

    (own_low, own_high), (other_low, other_high) = first.interval(0.025), second.interval(0.025)
    assert high - low < 0.95 * (own_high - other_low - (own_low - other_high))
    assert low < 0 < high
    assert difference(second, first) == pytest.approx((-high, -low), abs=1e-6)


def test_before_an_arm_has_a_value_the_difference_is_hardly_known() -> None:
    first = stream_of(np.ones(200))

    low, high = difference(first, ConfidenceSequence())

    assert -0.1 < low < 0
    assert high == 1.0
    assert difference(ConfidenceSequence(), ConfidenceSequence()) == (-1.0, 1.0)
    assert (ConfidenceSequence().mean, ConfidenceSequence().interval()) == (None, (0.0, 1.0))


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.01, 0.30), "ahead"),
        ((-0.30, -0.01), "behind"),
        ((-0.02, 0.02), "equivalent"),
        ((0.001, 0.02), "equivalent"),
        ((-0.03, 0.01), "undecided"),
        ((-1.0, 1.0), "undecided"),
    ],
)
def test_the_verdict_is_in_words(interval: tuple[float, float], expected: str) -> None:
    assert verdict(interval, margin=0.02) == expected


@pytest.mark.parametrize("size", [1, 10, 100, 1000])
def test_the_win_rate_is_that_of_ville(size: int) -> None:
    ville = pytest.importorskip("ville")
    votes = (np.random.default_rng(size).random(size) < 0.65).astype(float)

    expected = ville.BernoulliCS(alpha=0.05, intersect=False).fit(votes)

    found = WinRate(wins=votes.sum(), votes=size).interval()
    assert found == pytest.approx((expected.lower_[-1], expected.upper_[-1]), abs=1e-6)


def test_votes_for_one_arm_only_end_at_the_border() -> None:
    low, high = WinRate(wins=30, votes=30).interval()
    other_low, other_high = WinRate(wins=0, votes=30).interval()

    assert high == 1.0
    assert low > 0.5
    assert (other_low, other_high) == pytest.approx((0.0, 1 - low))
    assert WinRate().interval() == (0.0, 1.0)


@pytest.mark.parametrize("size", [50, 100, 1000, 5000])
@pytest.mark.parametrize("draw", [agreeing, coins])
def test_the_interval_is_about_as_narrow_as_that_of_ville(
    draw: Callable[[Random, int], tuple[Values, Values]], size: int
) -> None:
    ville = pytest.importorskip("ville")
    values, expected = draw(np.random.default_rng(size), size)
    theirs = ville.EmpiricalBernsteinCS(alpha=0.05, intersect=False).fit(values)

    low, high = stream_of(values).interval()

    their_low, their_high = theirs.lower_[-1], theirs.upper_[-1]
    assert low <= expected[0] <= high
    assert their_low <= expected[0] <= their_high
    assert high - low < 1.35 * (their_high - their_low)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_a_probability_of_error_is_between_0_and_1(alpha: float) -> None:
    stream = stream_of(np.array([0.5, 1.0]))

    for interval in (stream.interval, WinRate(1, 2).interval, lambda alpha: difference(stream, stream, alpha)):
        with pytest.raises(ValueError, match="must be between 0 and 1"):
            interval(alpha)


def test_a_state_that_no_stream_has_is_refused() -> None:
    for state in ((2, 3.0, 0.0), (2, 1.0, 3.0), (2, -1.0, 0.0), (2, math.nan, 0.0)):
        with pytest.raises(ValueError, match="of 2 values are between 0 and 2"):
            ConfidenceSequence(*state)
    with pytest.raises(ValueError, match="3 wins in 2 votes"):
        WinRate(3, 2)


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        verdict((-0.1, 0.1), -0.01)
