"""What an experiment has shown so far: a report of each arm and of each pair of arms, and one conclusion.

Two measures compare two arms:

- ratings: the difference of the mean ratings of their responses;
- votes: the win rate in comparisons of both. A tie is half a vote for each arm. The interval of a win rate allows this:
  it holds for any votes between 0 and 1.

An experiment may drop an arm that another arm is ahead of (`losing`). A dropped arm gets no traffic, and cannot be
named in the conclusion as the best. Functions of this module get the names of these arms as `dropped`.

Intervals and verdicts are valid at any time at which one looks. The probability that any verdict of an experiment ever
names a wrong arm is at most 5 % (`ALPHA`). This probability is divided among all pairs and both measures.

`slimseq.app.experiments.rows` reads the records from the database.
`slimseq.evaluation.sequential.confidence_sequence` has the statistics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from slimseq.answers import ArmReport, ExperimentConclusion, MeanRating, PairReport, RatingDifference, Votes
from slimseq.app.experiments.schemas import Arm
from slimseq.evaluation.sequential.confidence_sequence import ALPHA, ConfidenceSequence, WinRate, difference, verdict

# Ratings and votes.
MEASURES = 2
# The win rate of two equally good arms, and so what a tie counts for each of them.
EQUAL_WIN_RATE = 0.5


@dataclass
class ArmRecord:
    """What was counted of an arm: errors, responses, and the first rating of each unit, such as a user."""

    errors: int = 0
    responses: int = 0
    ratings: ConfidenceSequence = field(default_factory=ConfidenceSequence)


@dataclass
class PairRecord:
    """The votes on two arms. `win_rate` is that of the first arm. It includes the `ties`, as half a vote each."""

    win_rate: WinRate = field(default_factory=WinRate)
    ties: int = 0


# By the names of the two arms, in the order of the experiment's arms.
VotesByPair = Mapping[tuple[str, str], PairRecord]
VerdictsByPair = Mapping[tuple[str, str], set[str]]


def arm_reports(arms: Sequence[Arm], records: Mapping[str, ArmRecord], dropped: Sequence[str] = ()) -> list[ArmReport]:
    """Reports each arm with its share of the traffic. Dropped arms have none."""
    weights = [0.0 if arm.variant in dropped else arm.weight for arm in arms]
    return [
        _arm_report(arm, weight / sum(weights), records[arm.variant], arm.variant in dropped)
        for arm, weight in zip(arms, weights, strict=True)
    ]


def pair_reports(
    arms: Sequence[Arm], records: Mapping[str, ArmRecord], votes: VotesByPair, margin: float
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

    An arm is ahead if it is ahead of each other arm by ratings or votes, and behind none by the other measure. The only
    arm that is left is ahead too. Arms are equivalent if each pair is, by every measure that has values.
    """
    names = [arm.variant for arm in arms]
    remaining = [name for name in names if name not in dropped]
    verdicts = _verdicts(pairs)
    for name in remaining:
        beaten = [other for other in names if other != name and _is_ahead(name, other, verdicts)]
        unbeaten = [other for other in names if other != name and other not in beaten]
        if any(other in remaining for other in unbeaten):
            continue
        # A dropped arm lost to some arm, but not always to this one: votes may go round in a circle.
        is_only_arm_left = remaining == [name] and len(unbeaten) > 0
        text = f"{name} is the only arm left." if is_only_arm_left else f"{name} is ahead of {_listed(beaten)}."
        return ExperimentConclusion(verdict="ahead", arm=name, text=text)
    remaining_verdicts = [found for pair, found in verdicts.items() if set(pair) <= set(remaining)]
    if all(found == {"equivalent"} for found in remaining_verdicts):
        text = f"{_listed(remaining)} are equivalent within the margin."
        return ExperimentConclusion(verdict="equivalent", arm=None, text=text)
    if any(verdicts.values()):
        text = "Undecided: no arm is ahead, and a difference above the margin is still possible."
    else:
        text = "Undecided: there is no feedback for two arms yet."
    return ExperimentConclusion(verdict="undecided", arm=None, text=text)


def losing(names: Sequence[str], pairs: Sequence[PairReport]) -> list[str]:
    """Returns the arms that another arm is ahead of, but never all of them.

    Votes may go round in a circle: a beats b, b beats c, and c beats a. So an arm that has lost is removed at once, and
    cannot make another one lose.
    """
    verdicts = _verdicts(pairs)
    remaining = list(names)
    for name in names:
        if any(_is_ahead(other, name, verdicts) for other in remaining if other != name):
            remaining.remove(name)
    return [name for name in names if name not in remaining]


def _verdicts(pairs: Sequence[PairReport]) -> VerdictsByPair:
    """Returns the verdicts of each pair about its first arm: none, one or two different ones."""
    return {
        (pair.first, pair.second): {measure.verdict for measure in (pair.ratings, pair.votes) if measure is not None}
        for pair in pairs
    }


def _is_ahead(name: str, other: str, verdicts: VerdictsByPair) -> bool:
    """Whether an arm is ahead of another one by ratings or votes, and not behind it by the other measure."""
    if (name, other) in verdicts:
        found = verdicts[name, other]
        return "ahead" in found and "behind" not in found
    # The pair is in the other order: its verdicts are about `other`.
    found = verdicts[other, name]
    return "behind" in found and "ahead" not in found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _arm_report(arm: Arm, share: float, record: ArmRecord, is_dropped: bool) -> ArmReport:
    ratings = None
    sequence = record.ratings
    if sequence.mean is not None:
        ratings = MeanRating(count=sequence.count, mean=sequence.mean, interval=sequence.interval())
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
    win_rate = record.win_rate
    if win_rate.rate is None:
        return None
    interval = win_rate.interval(alpha)
    return Votes(
        votes=win_rate.votes,
        wins=win_rate.wins,
        ties=record.ties,
        win_rate=win_rate.rate,
        interval=interval,
        verdict=verdict(interval, margin, EQUAL_WIN_RATE),
    )
