"""Confidence sequences of several processes add up to one, which is valid at any time."""

import numpy as np
import pytest

from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence

STREAMS, VALUES, LOOK_EVERY = 200, 150, 3


def misses(random: np.random.Generator) -> bool:
    """Whether the interval of two processes together misses the mean at any look."""
    kept, own, expected = ConfidenceSequence(), [ConfidenceSequence(), ConfidenceSequence()], 0.0
    means = random.random(3)
    for number in range(1, VALUES + 1):
        # Each predicts from what it has measured, and another mean than before. Now and then one restarts.
        process = int(random.integers(2))
        mean = means[process] if number < VALUES / 2 else means[2]
        before = own[process].model_copy()
        own[process].update(float(random.random() < mean))
        kept, expected = kept.plus(own[process].minus(before)), expected + mean
        if random.random() < 0.02:
            own[process] = kept.model_copy()
        if number % LOOK_EVERY == 0:
            low, high = kept.interval()
            if not low <= expected / number <= high:
                return True
    assert kept.count == VALUES
    return False


def test_the_mean_of_two_streams_that_are_added_up_is_in_the_interval_at_every_look() -> None:
    random = np.random.default_rng(0)

    assert sum(misses(random) for _ in range(STREAMS)) <= 0.05 * STREAMS


def test_what_is_added_and_taken_away_again_is_what_it_was() -> None:
    first, second = ConfidenceSequence(), ConfidenceSequence()
    for value in (0.1, 0.7, 1.0):
        first.update(value)
        second.update(1 - value)

    both = first.plus(second)
    rest = both.minus(second)

    assert (both.count, both.total) == pytest.approx((6, 3.0))
    assert (rest.count, rest.total, rest.variation) == pytest.approx((3, first.total, first.variation))


def test_values_of_another_range_are_not_added() -> None:
    with pytest.raises(ValueError, match="values from"):
        ConfidenceSequence().plus(ConfidenceSequence(high=2.0))
