"""The learning rate over a run, and the share of a run that is done."""

import pytest

from slimseq.compression.train.schedule import Bounds, learning_rate_factor


@pytest.mark.parametrize(
    ("step", "done", "warmup_steps", "factor"),
    [
        (0, 0.0, 10, 0.1),
        (9, 0.1, 10, 1),
        (50, 0.75, 10, 1),
        (80, 0.875, 10, 0.5),
        (100, 1.0, 10, 0),
        # A short run warms up over its first tenth.
        (3, 0.05, 1000, 0.5),
        (6, 0.1, 1000, 1),
    ],
)
def test_the_learning_rate_rises_stays_and_falls(step: int, done: float, warmup_steps: int, factor: float) -> None:
    assert learning_rate_factor(step, done, warmup_steps, decay_fraction=0.25) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("bounds", "steps", "seconds", "epochs", "done"),
    [
        (Bounds(max_seconds=100), 1, 90, 0.0, 0.9),
        (Bounds(max_seconds=100), 10**6, 10, 5.0, 0.1),
        # The first bound that is reached counts.
        (Bounds(max_steps=10, max_seconds=100, epochs=2), 1, 20, 1.0, 0.5),
        (Bounds(max_steps=10, max_seconds=100, epochs=2), 11, 20, 1.0, 1),
        (Bounds(max_steps=0), 0, 0.0, 0.0, 1),
    ],
)
def test_a_run_is_as_far_as_its_nearest_bound(
    bounds: Bounds, steps: int, seconds: float, epochs: float, done: float
) -> None:
    assert bounds.done(steps, seconds, epochs) == pytest.approx(done)
