import pytest

from slimseq.compression.train.schedule import Bounds, WarmupStableDecay


def test_the_learning_rate_rises_stays_and_falls() -> None:
    schedule = WarmupStableDecay(warmup_steps=10, decay_fraction=0.25)

    assert schedule.factor(0, 0.0) == pytest.approx(0.1)
    assert schedule.factor(9, 0.1) == 1
    assert schedule.factor(50, 0.75) == 1
    assert schedule.factor(80, 0.875) == pytest.approx(0.5)
    assert schedule.factor(100, 1.0) == 0


def test_a_short_run_warms_up_over_its_first_tenth() -> None:
    schedule = WarmupStableDecay(warmup_steps=1000, decay_fraction=0.25)

    assert schedule.factor(3, 0.05) == pytest.approx(0.5)
    assert schedule.factor(6, 0.1) == 1


def test_a_run_bounded_by_time_decays_with_time() -> None:
    bounds = Bounds(max_seconds=100)

    assert bounds.done(steps=1, seconds=90, epochs=0.0) == pytest.approx(0.9)
    assert bounds.done(steps=10**6, seconds=10, epochs=5.0) == pytest.approx(0.1)


def test_the_first_bound_that_is_reached_counts() -> None:
    bounds = Bounds(max_steps=10, max_seconds=100, epochs=2)

    assert bounds.done(steps=1, seconds=20, epochs=1.0) == 0.5
    assert bounds.done(steps=11, seconds=20, epochs=1.0) == 1


def test_a_bound_of_zero_is_reached_at_once() -> None:
    assert Bounds(max_steps=0).done(0, 0.0, 0.0) == 1
