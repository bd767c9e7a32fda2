"""Always-valid intervals: one may look after each value, and stop as soon as the interval decides.

A usual 95 % interval is valid for one look, after a number of samples that was fixed before. A confidence sequence
contains the mean at all times with 95 % probability, however often one looks.

`ConfidenceSequence` is the empirical-Bernstein sequence of Howard, Ramdas, McAuliffe and Sekhon (2021,
https://arxiv.org/abs/1810.08240, theorem 4) with their discrete mixture as the boundary. It contains the mean of the
expectations so far, which may change over time, as they do on live traffic. Betting (Waudby-Smith and Ramdas 2024,
https://arxiv.org/abs/2010.09686) is narrower, by 20 to 30 % on agreements, but its mean must not change, and it needs a
grid of capitals instead of three numbers.

`WinRate` is for votes. Its interval is the beta-binomial mixture (Howard et al. 2021, section 3.2).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from slimseq.evaluation.bootstrap import Interval

ALPHA = 0.05
# The mixture: from 0.9 down, each 1.5 times smaller. The largest is best for few values, the smallest for millions. The
# weights are proportional to (k + 2)^-1.4, as in the stitching of Howard et al. (2021).
_POINTS = 16
_LARGEST, _RATIO, _DECAY = 0.9, 1.5, 1.4
_LAMBDAS = tuple(_LARGEST / _RATIO**k for k in range(_POINTS))
_TOTAL_WEIGHT = math.fsum((k + 2) ** -_DECAY for k in range(_POINTS))
_LOG_WEIGHTS = tuple(-_DECAY * math.log(k + 2) - math.log(_TOTAL_WEIGHT) for k in range(_POINTS))
# psi_E of Howard et al. (2021), table 2, for values whose range is 1.
_PENALTIES = tuple(-math.log1p(-each) - each for each in _LAMBDAS)
# Steps of Newton's method, which needs far fewer.
MAX_STEPS = 50
# Steps of a ternary search. Each leaves two thirds of the interval.
SEARCH_STEPS = 25
# Relative tolerance of Newton's method, and absolute tolerance of the bisection.
RELATIVE_TOLERANCE = 1e-9

Verdict = Literal["ahead", "behind", "equivalent", "undecided"]


@dataclass
class ConfidenceSequence:
    """The mean of a stream of values between 0 and 1, with an always-valid interval. An update takes microseconds.

    `total` is the sum of the values. `variation` is the sum of the squared errors of predicting each value by the mean
    of the values before it.

    Raises:
        ValueError: the fields are not those of a stream of values between 0 and 1.
    """

    count: int = 0
    total: float = 0.0
    variation: float = 0.0

    def __post_init__(self) -> None:
        # A comparison with NaN is false.
        if not (0 <= self.total <= self.count and 0 <= self.variation <= self.count):
            raise ValueError(
                f"the total ({self.total}) and the variation ({self.variation}) of {self.count} values"
                f" are between 0 and {self.count}"
            )

    @property
    def mean(self) -> float | None:
        """The mean of the values so far, None before the first one."""
        return self.total / self.count if self.count else None

    def update(self, value: float) -> None:
        self.extend([value])

    def extend(self, values: Iterable[float]) -> None:
        """Adds values in their order.

        Raises:
            ValueError: a value is not between 0 and 1. Then no value is added.
        """
        count, total, variation = self.count, self.total, self.variation
        for value in values:
            # NaN is in no interval.
            if not 0 <= value <= 1:
                raise ValueError(f"{value} is not between 0 and 1")
            # The prediction must not know the value.
            variation += (value - (total + 0.5) / (count + 1)) ** 2
            total += value
            count += 1
        self.count, self.total, self.variation = count, total, variation

    def interval(self, alpha: float = ALPHA) -> Interval:
        """Returns the interval now, `(0, 1)` before the first value.

        Args:
            alpha: probability that the interval ever, at any time, misses the mean.

        Raises:
            ValueError: alpha is not between 0 and 1.
        """
        _check_alpha(alpha)
        if not self.count:
            return 0.0, 1.0
        mean, radius = self.total / self.count, _boundary(self.variation, math.log(2 / alpha)) / self.count
        return max(mean - radius, 0.0), min(mean + radius, 1.0)


@dataclass
class WinRate:
    """The probability that the first of two arms wins a vote, with an always-valid interval.

    A tie is half a win. The interval is valid for every value of a vote between 0 and 1. The reason is the inequality
    of arithmetic and geometric means: a fraction of a vote adds no more than the same fractions of two whole votes, one
    for each arm.

    Raises:
        ValueError: there are more wins than votes, or fewer than none.
    """

    wins: float = 0.0
    votes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.wins <= self.votes:
            raise ValueError(f"there are {self.wins} wins in {self.votes} votes")

    @property
    def rate(self) -> float | None:
        """The share of votes for the first arm, None before the first vote."""
        return self.wins / self.votes if self.votes else None

    def interval(self, alpha: float = ALPHA) -> Interval:
        """Returns the interval now, `(0, 1)` before the first vote.

        Args:
            alpha: probability that the interval ever, at any time, misses the true rate.

        Raises:
            ValueError: alpha is not between 0 and 1.
        """
        _check_alpha(alpha)
        rate = self.rate
        if rate is None:
            return 0.0, 1.0
        wins, losses = self.wins, self.votes - self.wins
        # The mixture over all rates, with a uniform prior: B(1 + wins, 1 + losses).
        mixture = math.lgamma(1 + wins) + math.lgamma(1 + losses) - math.lgamma(2 + self.votes)

        def is_rejected(candidate: float) -> bool:
            likelihood = _times_log(wins, candidate) + _times_log(losses, 1 - candidate)
            return mixture - likelihood >= math.log(1 / alpha)

        low = _border(is_rejected, 0.0, rate) if is_rejected(0.0) else 0.0
        high = _border(is_rejected, 1.0, rate) if is_rejected(1.0) else 1.0
        return low, high


def difference(first: ConfidenceSequence, second: ConfidenceSequence, alpha: float = ALPHA) -> Interval:
    """Returns an always-valid interval of the first mean minus the second mean. It takes milliseconds.

    Values of both streams may come in any order, one at a time. Then the product of both mixtures is a supermartingale
    too. The interval has the differences of all two means at which this product is below 1 / alpha. It is about 20 %
    narrower than the difference of two intervals at alpha / 2. For values in pairs, use one `ConfidenceSequence` of
    their differences.

    Raises:
        ValueError: alpha is not between 0 and 1.
    """
    _check_alpha(alpha)
    if first.mean is None or second.mean is None:
        (low, high), (other_low, other_high) = first.interval(alpha), second.interval(alpha)
        return low - other_high, high - other_low
    # Each mixture has two sides, of weight 1/2.
    threshold = math.log(4 / alpha)
    scales = [1 / each.count for each in (first, second)]
    least = [_log_mixture(_constants(each.variation), 0.0)[0] for each in (first, second)]

    def radius(share: float) -> float:
        """The largest distance of the difference if the first mixture has this part of the threshold. It is concave."""
        own = scales[0] * _boundary(first.variation, share)
        return own + scales[1] * _boundary(second.variation, threshold - share)

    low, high = least[0], threshold - least[1]
    for _ in range(SEARCH_STEPS):
        third = (high - low) / 3
        if radius(low + third) < radius(high - third):
            low += third
        else:
            high -= third
    # The maximum is between `low` and `high`. This is an upper bound: as the radius is concave, its value in the middle
    # is at least halfway between the lower one of both ends and the maximum.
    largest = 2 * radius((low + high) / 2) - min(radius(low), radius(high))
    middle = first.mean - second.mean
    return max(middle - largest, -1.0), min(middle + largest, 1.0)


def verdict(interval: Interval, margin: float, tie: float = 0.0) -> Verdict:
    """Says what an interval shows. If the interval is valid at any time, so is the verdict.

    Args:
        interval: the interval of the first arm's mean minus the second arm's, or of the first arm's win rate.
        margin: differences from `tie` up to this, named before the first value, do not matter.
        tie: the value where neither is better: 0 for a difference, 0.5 for a win rate.

    Returns:
        `equivalent` if the whole interval is within the margin, else `ahead` or `behind` if it is above or below the
        tie, else `undecided`.

    Raises:
        ValueError: the margin is negative.
    """
    if not margin >= 0:
        raise ValueError(f"the margin is {margin}; it must not be negative")
    low, high = interval
    if tie - margin <= low and high <= tie + margin:
        return "equivalent"
    if low > tie:
        return "ahead"
    return "behind" if high < tie else "undecided"


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must be between 0 and 1")


def _boundary(variation: float, threshold: float) -> float:
    """Returns the sum of deviations at which the mixture of exponential supermartingales reaches a threshold.

    The threshold is a logarithm. Newton's method comes from above, as the logarithm of the mixture is convex and
    increasing, so that a result is never too small.
    """
    constants = _constants(variation)
    sum_ = min((threshold - constant) / each for constant, each in zip(constants, _LAMBDAS, strict=True))
    for _ in range(MAX_STEPS):
        value, slope = _log_mixture(constants, sum_)
        step = (value - threshold) / slope
        if step <= RELATIVE_TOLERANCE * abs(sum_):
            break
        sum_ -= step
    return sum_


def _constants(variation: float) -> list[float]:
    return [weight - penalty * variation for weight, penalty in zip(_LOG_WEIGHTS, _PENALTIES, strict=True)]


def _log_mixture(constants: Sequence[float], sum_: float) -> tuple[float, float]:
    """Returns the logarithm of `sum(weight * exp(lambda * sum - psi(lambda) * variation))`, and its slope."""
    exponents = [constant + each * sum_ for constant, each in zip(constants, _LAMBDAS, strict=True)]
    largest = max(exponents)
    terms = [math.exp(each - largest) for each in exponents]
    total = math.fsum(terms)
    slope = math.fsum(term * each for term, each in zip(terms, _LAMBDAS, strict=True)) / total
    return largest + math.log(total), slope


def _border(is_rejected: Callable[[float], bool], outside: float, inside: float) -> float:
    """Returns the last rejected candidate between a rejected and an accepted one, by bisection."""
    while abs(outside - inside) > RELATIVE_TOLERANCE:
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if is_rejected(middle) else (outside, middle)
    return outside


def _times_log(count: float, probability: float) -> float:
    if not count:
        return 0.0
    return count * math.log(probability) if probability > 0 else -math.inf
