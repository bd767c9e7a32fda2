"""How the seconds of `--within` are shared out: what is left, and what each part of the work may take.

The command must end within 1.1 times of `--within`. So each part gets a share of the whole at most, and no part starts
without the time for what comes after it.
"""

import re
from collections.abc import Callable

from slimseq.compression.errors import BadParameters

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# Quantization and two measurements of a small model take about this long.
MIN_SECONDS = 60.0
MAX_SECONDS = 30 * 86_400.0
# Shares of the whole time that parts may take at most.
DECODING_SHARE = 0.1
# The search settings are all that is tried where there is no time for training.
DECODING_SHARE_ALONE = 0.4
COSTS_SHARE = 0.08
LOSSES_SHARE = 0.08
# Measuring the true divergence of the shapes that the search proposes.
RANKING_SHARE = 0.05
# Share of the whole time for all short trainings together, after which the losing half stops.
SHORT_TRAINING_SHARE = 0.2
# Share of the time at the end that measuring and publishing may take, at most; they are bounded by their samples.
END_SHARE = 0.12
# Below this time, a training would end before it recovers anything: only what needs no training is tried.
MIN_TRAINING_SECONDS = 240.0
# Estimates of a training's speed are this much too good at times: other processes, larger batches.
CAUTION = 0.9


def read_duration(text: str) -> float:
    """Returns the seconds of a duration such as `90s`, `60m`, `1.5h` or `1h30m`.

    Raises:
        BadParameters: it is no duration, or shorter than `MIN_SECONDS`.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise BadParameters(f"--within {text!r} is no duration: write 90s, 60m, 1.5h or 1h30m")
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if seconds < MIN_SECONDS:
        raise BadParameters(f"--within {text} is too short: quantizing and measuring alone take about a minute")
    if seconds > MAX_SECONDS:
        raise BadParameters(f"--within {text} is too long: it is at most 30d")
    return seconds


class TimePlan:
    """The time that a run was given, and what is left of it.

    Args:
        within: seconds that the whole run may take.
        elapsed: returns the seconds that it has taken.
    """

    def __init__(self, within: float, elapsed: Callable[[], float]) -> None:
        self.within = within
        self._elapsed = elapsed

    @property
    def left(self) -> float:
        return max(0.0, self.within - self._elapsed())

    def part(self, share: float) -> float:
        """Returns the seconds of a part of the work: its share of the whole, and at most half of what is left."""
        return min(share * self.within, self.left / 2)

    @property
    def for_training(self) -> float:
        """Seconds that trainings may take, so that measuring and publishing still fit behind them."""
        return max(0.0, (self.left - END_SHARE * self.within) * CAUTION)

    @property
    def training_end(self) -> float:
        """Seconds after the start of the run at which the last training must have ended."""
        return self.within * (1 - END_SHARE / 2)

    @property
    def allows_training(self) -> bool:
        return self.for_training >= MIN_TRAINING_SECONDS
