"""Chooses among measured variants the fastest or the smallest that keeps enough quality, without the winner's luck.

The best of several measured variants looks better than it is, because it is also the luckiest. So the dev samples are
split by a seed into two halves:

- On the choosing half, candidates are ordered by retention. Those below the bar are left out.
- On the confirming half, they are tested in this order. A candidate passes if the one-sided 95 % lower bound of its
  retention reaches the bar. The first that fails ends the tests.

This is fixed-sequence testing (Maurer, Hothorn and Lehmacher 1995; "Learn then test", https://arxiv.org/abs/2110.01052):
the order is independent of the confirming half, so that the probability that any candidate below the bar passes is at
most 5 %, however many candidates there are. The chosen variant is the fastest or the smallest of those that passed.

The rule works with the statistics of any metric of which higher values are better. The caller measures the candidates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slimseq.evaluation.bootstrap import PERCENTILES, Interval, check_pair, retention_resamples
from slimseq.evaluation.metrics import MetricStatistics, mean_of
from slimseq.evaluation.significance import MIN_SAMPLES
from slimseq.models_store.errors import SlimseqError

Aim = Literal["fastest", "smallest"]
Indices = NDArray[np.intp]

# The lower bound of a one-sided 95 % interval, as a percentile of the bootstrap.
LOWER_PERCENTILE = 5.0
# Quantiles of the normal distribution: of one-sided 95 % confidence, and of a power of 80 %.
CONFIDENCE_Z = 1.645
POWER_Z = 0.842


class CannotChoose(SlimseqError):
    """Raised when no choice is possible: too few samples, or a reference without a score."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A measured variant.

    Attributes:
        name: the name of the variant.
        statistics: the statistics of the variant's outputs, on the samples of the reference in the same order.
        seconds: the time for one text, as the variant will be served.
        size: the bytes of the variant, as it will be served.
    """

    name: str
    statistics: MetricStatistics
    seconds: float
    size: int

    def cost(self, aim: Aim) -> float:
        return self.seconds if aim == "fastest" else self.size


class Status(StrEnum):
    """What the tests say about a candidate."""

    CONFIRMED = "confirmed"
    """The lower bound of its retention on the confirming half reaches the bar."""
    FAILED = "failed"
    """The lower bound of its retention on the confirming half is below the bar. It ended the tests."""
    BELOW = "below the bar"
    """Its retention on the choosing half is below the bar."""
    UNTESTED = "not tested"
    """An earlier candidate ended the tests, or makes this one useless."""


@dataclass(frozen=True)
class CandidateResult:
    """What is known of a candidate.

    Attributes:
        name: the name of the variant.
        status: what the tests say.
        reason: the status in words, with numbers.
        choosing: the retention on the choosing half.
        confirming: the retention on the confirming half.
        interval: the two-sided 95 % interval of `confirming`.
        lower_bound: the one-sided 95 % lower bound of `confirming`.
        pairs_needed: the number of dev samples with which the candidate would pass in four of five cases, if its true
            retention is `confirming`. None, unless the candidate failed and `confirming` is above the bar.
    """

    name: str
    status: Status
    reason: str
    choosing: float
    confirming: float
    interval: Interval
    lower_bound: float
    pairs_needed: int | None = None


@dataclass(frozen=True)
class Choice:
    """The chosen variant, and what is known of every candidate.

    Attributes:
        chosen: the name of the chosen variant. None if no candidate is confirmed.
        results: one for each candidate, ordered by retention on the choosing half, which is the order of the tests.
        reason: why this variant was chosen, or what the best candidate lacks.
    """

    chosen: str | None
    results: tuple[CandidateResult, ...]
    reason: str


def statistics_of(metric: str, values: Sequence[float]) -> MetricStatistics:
    """Returns the statistics of a metric that has one number a sample, and whose value is the mean of these numbers."""
    per_sample = np.column_stack([np.asarray(values, dtype=np.float64), np.ones(len(values))])
    return MetricStatistics(metric, "mean over samples", per_sample, mean_of)


def halves(count: int, seed: int) -> tuple[Indices, Indices]:
    """Splits samples at random into a choosing and a confirming half. Returns the indices of each half, sorted.

    If the number of samples is odd, the confirming half has one more.

    Raises:
        CannotChoose: a half would have fewer than `MIN_SAMPLES` samples.
    """
    if count // 2 < MIN_SAMPLES:
        raise CannotChoose(
            f"{count} dev pairs are too few: one half of them chooses and the other half confirms, and a half needs "
            f"at least {MIN_SAMPLES}"
        )
    order = np.random.default_rng(seed).permutation(count)
    choosing, confirming = order[: count // 2], order[count // 2 :]
    return np.sort(choosing), np.sort(confirming)


def lower_bound(variant: MetricStatistics, reference: MetricStatistics) -> float:
    """Returns the one-sided 95 % lower bound of a variant's retention, by the paired bootstrap.

    Raises:
        CannotChoose: the reference does not score above 0.
        ValueError: the two are of different metrics, or of different numbers of samples.
    """
    _check_reference(reference)
    (resamples,) = retention_resamples([variant], reference)
    return float(np.percentile(resamples, LOWER_PERCENTILE))


def confirmed(
    reference: MetricStatistics, candidates: Sequence[Candidate], keep: float, aim: Aim, seed: int
) -> list[CandidateResult]:
    """Tests candidates on the confirming half, in the order of their retention on the choosing half.

    A candidate that is no faster (or smaller, as `aim` says) than an earlier one is not tested. It cannot be chosen: if
    the earlier one passes, that one is chosen, and if it fails, the tests end.

    Args:
        reference: the statistics of the model that retention is relative to.
        candidates: the measured variants, each with another name.
        keep: the bar, a share of the reference's value.
        aim: whether the fastest or the smallest candidate is wanted.
        seed: the seed of the halves.

    Returns:
        One result for each candidate, ordered by retention on the choosing half.

    Raises:
        CannotChoose: there is no candidate, a half has too few samples, or the reference does not score above 0.
        ValueError: the bar is not above 0, or statistics are not of the same metric and samples.
    """
    if not candidates:
        raise CannotChoose("there is no candidate to choose from")
    if not keep > 0:
        raise ValueError(f"the bar is {keep}; it is a share above 0")
    for candidate in candidates:
        check_pair(candidate.statistics, reference)
    choosing_half, confirming_half = halves(reference.samples, seed)
    choosing_reference = _part(reference, choosing_half)
    confirming_reference = _part(reference, confirming_half)
    _check_reference(choosing_reference)
    _check_reference(confirming_reference)

    choosing = {
        each.name: _part(each.statistics, choosing_half).value / choosing_reference.value for each in candidates
    }
    # Of candidates with equal retention, only the cheapest is worth a test.
    order = sorted(candidates, key=lambda each: (-choosing[each.name], each.cost(aim), each.name))
    confirming = _on_confirming_half(order, confirming_half, confirming_reference)

    results: list[CandidateResult] = []
    # The lowest cost of a candidate that was tested, and the candidate whose failure ended the tests.
    least_cost = math.inf
    ended_by = ""
    for candidate, found in zip(order, confirming, strict=True):
        measured = CandidateResult(
            name=candidate.name,
            status=Status.UNTESTED,
            reason="",
            choosing=choosing[candidate.name],
            confirming=found.retention,
            interval=found.interval,
            lower_bound=found.lower_bound,
        )
        if measured.choosing < keep:
            result = replace(
                measured,
                status=Status.BELOW,
                reason=f"{measured.choosing:.1%} on the choosing half is below the bar of {keep:.1%}",
            )
        elif ended_by:
            result = replace(measured, reason=f"the tests ended with {ended_by}, which failed")
        elif candidate.cost(aim) >= least_cost:
            better = "faster" if aim == "fastest" else "smaller"
            result = replace(measured, reason=f"a candidate with more retention is as good or {better}")
        else:
            result = _tested(measured, keep, len(confirming_half))
            least_cost = candidate.cost(aim)
            if result.status is Status.FAILED:
                ended_by = candidate.name
        results.append(result)
    return results


def choose(reference: MetricStatistics, candidates: Sequence[Candidate], keep: float, aim: Aim, seed: int) -> Choice:
    """Chooses the fastest or smallest candidate that is confirmed. Arguments and errors are those of `confirmed`."""
    results = tuple(confirmed(reference, candidates, keep, aim, seed))
    costs = {each.name: each.cost(aim) for each in candidates}
    passed = [each for each in results if each.status is Status.CONFIRMED]
    if passed:
        best = min(passed, key=lambda each: costs[each.name])
        return Choice(best.name, results, f"{best.name} is the {aim} that is confirmed: {best.reason}")
    tested = [each for each in results if each.status is Status.FAILED]
    # The candidate with the most retention comes first. It was tested and failed, or it is below the bar.
    best = tested[0] if tested else results[0]
    return Choice(None, results, f"no candidate is confirmed. The best is {best.name}: {best.reason}")


class _Confirmation(NamedTuple):
    """The retention of a candidate on the confirming half, its two-sided interval and its one-sided lower bound."""

    retention: float
    interval: Interval
    lower_bound: float


def _on_confirming_half(
    candidates: Sequence[Candidate], confirming_half: Indices, reference: MetricStatistics
) -> list[_Confirmation]:
    parts = [_part(each.statistics, confirming_half) for each in candidates]
    found = []
    for part, resamples in zip(parts, retention_resamples(parts, reference), strict=True):
        low, high, bound = np.percentile(resamples, [*PERCENTILES, LOWER_PERCENTILE])
        found.append(_Confirmation(part.value / reference.value, (float(low), float(high)), float(bound)))
    return found


def _tested(measured: CandidateResult, keep: float, samples: int) -> CandidateResult:
    """Returns the result of a candidate's test. `samples` is the number of samples of the confirming half."""
    kept, bound = measured.confirming, measured.lower_bound
    found = f"it keeps {kept:.1%} on the confirming half, at least {bound:.1%} with 95 % confidence"
    if bound >= keep:
        return replace(measured, status=Status.CONFIRMED, reason=found)
    failed = replace(measured, status=Status.FAILED)
    if kept <= keep:
        return replace(failed, reason=f"{found}; the bar is {keep:.1%}")
    pairs = _pairs_needed(kept, bound, keep, samples)
    return replace(
        failed,
        reason=f"{found}; the bar is {keep:.1%}. About {pairs:,} dev pairs would probably confirm it",
        pairs_needed=pairs,
    )


def _pairs_needed(kept: float, bound: float, keep: float, samples: int) -> int:
    """Returns the number of dev samples, two halves, with which the lower bound would reach the bar.

    The standard error falls with the root of the number of samples. The power is 80 %.

    Args:
        kept: the retention on the confirming half.
        bound: the lower bound of `kept`.
        keep: the bar.
        samples: the number of samples of the confirming half.
    """
    standard_error = (kept - bound) / CONFIDENCE_Z
    needed_standard_error = (kept - keep) / (CONFIDENCE_Z + POWER_Z)
    half = math.ceil(samples * (standard_error / needed_standard_error) ** 2)
    # The standard error is an estimate too, so more than two digits would say nothing.
    return _rounded_up_to_two_digits(2 * half)


def _rounded_up_to_two_digits(number: int) -> int:
    zeros = max(len(str(number)) - 2, 0)
    unit: int = 10**zeros
    return math.ceil(number / unit) * unit


def _part(statistics: MetricStatistics, indices: Indices) -> MetricStatistics:
    return replace(statistics, per_sample=statistics.per_sample[indices])


def _check_reference(reference: MetricStatistics) -> None:
    if not reference.value > 0:
        raise CannotChoose(
            f"the original's {reference.metric} is {reference.value:g}: a share of it says nothing. Check that the "
            "pairs are of the model's task and languages"
        )
