"""What an experiment has shown so far, with intervals and verdicts that are valid at any time at which one looks.

Two measures compare two arms: the mean ratings of their responses, and the votes of comparisons of both. The
probability that any verdict of an experiment ever names a wrong arm is at most 5 %. It is divided among all pairs and
both measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from slimseq.app.http.schemas.experiment import (
    Arm,
    ArmLatency,
    ArmReport,
    ExperimentConclusion,
    MeanRating,
    PairReport,
    RatingDifference,
    Votes,
)
from slimseq.evaluation.sequential.confidence_sequence import ALPHA, ConfidenceSequence, WinRate, difference, verdict

MEASURES = 2
TIE = 0.5

# How often the first of two compared arms was preferred to all others, by both names.
Wins = Mapping[tuple[str, str], int]


@dataclass
class ArmRecord:
    """What was recorded of an arm: its latest total times, and ratings, of each unit the first one."""

    responses: int = 0
    errors: int = 0
    total_ms: Sequence[float] = ()
    ratings: ConfidenceSequence = field(default_factory=ConfidenceSequence)


def arm_reports(arms: Sequence[Arm], records: Mapping[str, ArmRecord]) -> list[ArmReport]:
    """Returns what each arm has shown.

    Args:
        arms: the arms of the experiment.
        records: of each arm, by its name.
    """
    total = sum(arm.weight for arm in arms)
    return [_arm_report(arm, arm.weight / total, records[arm.variant]) for arm in arms]


def pair_reports(arms: Sequence[Arm], records: Mapping[str, ArmRecord], wins: Wins, margin: float) -> list[PairReport]:
    """Compares each pair of arms.

    Args:
        arms: the arms of the experiment.
        records: of each arm, by its name.
        wins: the votes of comparisons.
        margin: differences up to this do not matter.
    """
    pairs = list(combinations([arm.variant for arm in arms], 2))
    alpha = ALPHA / len(pairs) / MEASURES
    return [
        PairReport(
            first=first,
            second=second,
            ratings=_rating_difference(records[first].ratings, records[second].ratings, margin, alpha),
            votes=_votes(wins.get((first, second), 0), wins.get((second, first), 0), margin, alpha),
        )
        for first, second in pairs
    ]


def conclusion(arms: Sequence[Arm], pairs: Sequence[PairReport]) -> ExperimentConclusion:
    """Sums up the verdicts of all pairs.

    An arm is ahead if it is ahead of each other arm by ratings or votes, and behind none by the other measure. Arms are
    equivalent if each pair is, by every measure that has values.
    """
    names = [arm.variant for arm in arms]
    verdicts = {(pair.first, pair.second): _verdicts(pair) for pair in pairs}
    for name in names:
        if all(_is_ahead(name, other, verdicts) for other in names if other != name):
            return ExperimentConclusion(
                verdict="ahead", arm=name, text=f"{name} is ahead of {_listed([n for n in names if n != name])}."
            )
    if all(found and found == {"equivalent"} for found in verdicts.values()):
        text = f"{_listed(names)} are equivalent within the margin."
        return ExperimentConclusion(verdict="equivalent", arm=None, text=text)
    has_feedback = any(verdicts.values())
    text = "Undecided: no arm is ahead, and a difference above the margin is still possible."
    if not has_feedback:
        text = "Undecided: there is no feedback for two arms yet."
    return ExperimentConclusion(verdict="undecided", arm=None, text=text)


def _verdicts(pair: PairReport) -> set[str]:
    return {measure.verdict for measure in (pair.ratings, pair.votes) if measure is not None}


def _is_ahead(name: str, other: str, verdicts: Mapping[tuple[str, str], set[str]]) -> bool:
    if (name, other) in verdicts:
        found = verdicts[name, other]
        return "ahead" in found and "behind" not in found
    found = verdicts[other, name]
    return "behind" in found and "ahead" not in found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _arm_report(arm: Arm, share: float, record: ArmRecord) -> ArmReport:
    latency, ratings, mean = None, None, record.ratings
    if len(record.total_ms):
        p50, p95 = np.percentile(record.total_ms, [50, 95]).tolist()
        latency = ArmLatency(p50_ms=round(p50, 3), p95_ms=round(p95, 3))
    if mean.mean is not None:
        ratings = MeanRating(count=mean.count, mean=mean.mean, interval=mean.interval())
    return ArmReport(
        variant=arm.variant,
        weight=arm.weight,
        share=share,
        responses=record.responses,
        errors=record.errors,
        latency=latency,
        ratings=ratings,
    )


def _rating_difference(
    first: ConfidenceSequence, second: ConfidenceSequence, margin: float, alpha: float
) -> RatingDifference | None:
    if first.mean is None or second.mean is None:
        return None
    interval = difference(first, second, alpha)
    return RatingDifference(difference=first.mean - second.mean, interval=interval, verdict=verdict(interval, margin))


def _votes(first: int, second: int, margin: float, alpha: float) -> Votes | None:
    wins = WinRate(wins=first, votes=first + second)
    if wins.rate is None:
        return None
    interval = wins.interval(alpha)
    return Votes(
        votes=wins.votes,
        wins=wins.wins,
        win_rate=wins.rate,
        interval=interval,
        verdict=verdict(interval, margin, TIE),
    )
