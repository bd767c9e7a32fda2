"""What an experiment has shown so far, with intervals and verdicts that are valid at any time at which one looks.

Two measures compare two arms: the mean ratings of their responses, and the votes of comparisons of both, in which a tie
is half a vote for each: the interval of a win rate holds for any votes between 0 and 1. The
probability that any verdict of an experiment ever names a wrong arm is at most 5 %. It is divided among all pairs and
both measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from slimseq.answers import ArmReport, ExperimentConclusion, MeanRating, PairReport, RatingDifference, Votes
from slimseq.app.experiments.schemas import Arm
from slimseq.evaluation.sequential.confidence_sequence import ALPHA, ConfidenceSequence, WinRate, difference, verdict

MEASURES = 2
# The win rate of two arms that are alike, and what a vote for both counts for each.
TIE = 0.5


@dataclass
class ArmRecord:
    """What was counted of an arm: errors, responses, and of each unit the first rating."""

    errors: int = 0
    responses: int = 0
    ratings: ConfidenceSequence = field(default_factory=ConfidenceSequence)


@dataclass
class PairRecord:
    """The votes on two arms. `win_rate` is the first one's, and has the `ties` too."""

    win_rate: WinRate = field(default_factory=WinRate)
    ties: int = 0


Pairs = Mapping[tuple[str, str], PairRecord]


def arm_reports(arms: Sequence[Arm], records: Mapping[str, ArmRecord], dropped: Sequence[str] = ()) -> list[ArmReport]:
    weights = [0.0 if arm.variant in dropped else arm.weight for arm in arms]
    return [
        _arm_report(arm, weight / sum(weights), records[arm.variant], arm.variant in dropped)
        for arm, weight in zip(arms, weights, strict=True)
    ]


def pair_reports(
    arms: Sequence[Arm], records: Mapping[str, ArmRecord], votes: Pairs, margin: float
) -> list[PairReport]:
    """Compares each pair of arms. Differences up to the margin do not matter."""
    pairs = list(combinations([arm.variant for arm in arms], 2))
    alpha = ALPHA / len(pairs) / MEASURES
    return [
        PairReport(
            first=first,
            second=second,
            ratings=_rating_difference(records[first].ratings, records[second].ratings, margin, alpha),
            votes=_votes(votes[first, second], margin, alpha),
        )
        for first, second in pairs
    ]


def conclusion(arms: Sequence[Arm], pairs: Sequence[PairReport], dropped: Sequence[str] = ()) -> ExperimentConclusion:
    """Sums up the verdicts of all pairs of arms that were not dropped.

    An arm is ahead if it is ahead of each other arm by ratings or votes, and behind none by the other measure. Arms are
    equivalent if each pair is, by every measure that has values.
    """
    names = [arm.variant for arm in arms]
    left = [name for name in names if name not in dropped]
    verdicts = _verdicts(pairs)
    for name in left:
        if all(_is_ahead(name, other, verdicts) for other in left if other != name):
            return ExperimentConclusion(
                verdict="ahead", arm=name, text=f"{name} is ahead of {_listed([n for n in names if n != name])}."
            )
    if all(found == {"equivalent"} for pair, found in verdicts.items() if set(pair) <= set(left)):
        text = f"{_listed(left)} are equivalent within the margin."
        return ExperimentConclusion(verdict="equivalent", arm=None, text=text)
    text = "Undecided: there is no feedback for two arms yet."
    if any(verdicts.values()):
        text = "Undecided: no arm is ahead, and a difference above the margin is still possible."
    return ExperimentConclusion(verdict="undecided", arm=None, text=text)


def losing(names: Sequence[str], pairs: Sequence[PairReport]) -> list[str]:
    """Returns the arms that another one is ahead of, and never all: votes may go round in a circle."""
    verdicts, left = _verdicts(pairs), list(names)
    for name in names:
        if any(_is_ahead(other, name, verdicts) for other in left if other != name):
            left.remove(name)
    return [name for name in names if name not in left]


def _verdicts(pairs: Sequence[PairReport]) -> dict[tuple[str, str], set[str]]:
    return {
        (pair.first, pair.second): {measure.verdict for measure in (pair.ratings, pair.votes) if measure is not None}
        for pair in pairs
    }


def _is_ahead(name: str, other: str, verdicts: Mapping[tuple[str, str], set[str]]) -> bool:
    if (name, other) in verdicts:
        found = verdicts[name, other]
        return "ahead" in found and "behind" not in found
    found = verdicts[other, name]
    return "behind" in found and "ahead" not in found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _arm_report(arm: Arm, share: float, record: ArmRecord, is_dropped: bool) -> ArmReport:
    ratings, mean = None, record.ratings
    if mean.mean is not None:
        ratings = MeanRating(count=mean.count, mean=mean.mean, interval=mean.interval())
    return ArmReport(
        variant=arm.variant,
        weight=arm.weight,
        share=share,
        responses=record.responses,
        errors=record.errors,
        ratings=ratings,
        dropped=is_dropped,
    )


def _rating_difference(
    first: ConfidenceSequence, second: ConfidenceSequence, margin: float, alpha: float
) -> RatingDifference | None:
    if first.mean is None or second.mean is None:
        return None
    interval = difference(first, second, alpha)
    return RatingDifference(difference=first.mean - second.mean, interval=interval, verdict=verdict(interval, margin))


def _votes(record: PairRecord, margin: float, alpha: float) -> Votes | None:
    wins = record.win_rate
    if wins.rate is None:
        return None
    interval = wins.interval(alpha)
    return Votes(
        votes=wins.votes,
        wins=wins.wins,
        ties=record.ties,
        win_rate=wins.rate,
        interval=interval,
        verdict=verdict(interval, margin, TIE),
    )
