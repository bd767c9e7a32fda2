"""The mean training losses that a run shows: of its first steps, and of its last steps so far."""

from collections.abc import Sequence

# Number of steps of the first and of the last mean loss. A run of fewer than twice as many steps has half of its steps
# in each mean.
MEAN_STEPS = 20


def _mean_steps(steps: int) -> int:
    """Returns the number of steps in a mean loss of a run. The first and the last mean share no step."""
    return max(1, min(MEAN_STEPS, steps // 2))


def first_mean(losses: Sequence[float]) -> float | None:
    return _mean(losses[: _mean_steps(len(losses))])


def last_mean(losses: Sequence[float]) -> float | None:
    """Returns the mean loss of the last steps so far. It is shown during a run and at its end."""
    return _mean(losses[-_mean_steps(len(losses)) :])


def _mean(losses: Sequence[float]) -> float | None:
    return round(sum(losses) / len(losses), 4) if losses else None
