"""Verdicts of experiments are valid at any time: seldom wrong if arms are equally good, soon right if they are not."""

import random
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import combinations

import pytest

from slimseq.answers import ExperimentConclusion, PairReport, RatingDifference, Verdict
from slimseq.app.experiments.report import (
    EQUAL_WIN_RATE,
    MEASURES,
    ArmRecord,
    PairRecord,
    conclusion,
    losing,
    pair_reports,
)
from slimseq.app.experiments.schemas import Arm
from slimseq.evaluation.sequential.confidence_sequence import ALPHA, WinRate, verdict

ARMS = [Arm(variant="original"), Arm(variant="compact")]


def rated(ratings: Iterable[float]) -> ArmRecord:
    record = ArmRecord()
    for rating in ratings:
        record.ratings.update(rating)
    return record


def concluded(
    votes: list[str], margin: float = 0.02, records: dict[str, ArmRecord] | None = None
) -> ExperimentConclusion:
    """Concludes from votes for `original`, for `compact`, or for both (a tie)."""
    counts = Counter(votes)
    records = records or {arm.variant: ArmRecord() for arm in ARMS}
    rate = WinRate(wins=counts["original"] + EQUAL_WIN_RATE * counts["both"], votes=len(votes))
    pairs = {("original", "compact"): PairRecord(rate, counts["both"])}
    return conclusion(ARMS, pair_reports(ARMS, records, pairs, margin))


def random_votes(count: int, preference: float, seed: int, ties: float = 0.0) -> list[str]:
    """Draws votes: a share of `ties`, and of the others a share for `compact` that is its `preference`."""
    draw = random.Random(seed)
    votes = []
    for _ in range(count):
        if draw.random() < ties:
            votes.append("both")
        else:
            votes.append("compact" if draw.random() < preference else "original")
    return votes


NAMES = ["a", "b", "c"]
THREE_ARMS = [Arm(variant=name) for name in NAMES]


def reports_of_pairs(*verdicts: Verdict) -> list[PairReport]:
    """Returns reports with the verdicts about a and b, a and c, b and c."""
    ratings = [RatingDifference(difference=0, interval=(0, 0), verdict=each) for each in verdicts]
    found = zip(combinations(NAMES, 2), ratings, strict=True)
    return [PairReport(first=first, second=second, ratings=each, votes=None) for (first, second), each in found]


def test_an_arm_that_lost_is_dropped_and_the_others_are_compared_without_it() -> None:
    pairs = reports_of_pairs("equivalent", "ahead", "undecided")

    assert losing(NAMES, pairs) == ["c"]
    assert losing(["a", "b"], pairs) == []
    assert conclusion(THREE_ARMS, pairs).verdict == "undecided"
    assert conclusion(THREE_ARMS, pairs, dropped=["c"]).text == "a and b are equivalent within the margin."


def test_of_arms_that_beat_each_other_in_a_circle_one_remains() -> None:
    # a beats b, c beats a, and b beats c.
    pairs = reports_of_pairs("ahead", "behind", "ahead")

    found = conclusion(THREE_ARMS, pairs, dropped=["a", "c"])

    assert losing(NAMES, pairs) == ["a", "c"]
    assert (found.verdict, found.arm, found.text) == ("ahead", "b", "b is the only arm left.")


def test_the_last_arm_is_ahead_of_the_dropped_arms_that_it_beat() -> None:
    # a beats b and c.
    pairs = reports_of_pairs("ahead", "ahead", "undecided")

    assert conclusion(THREE_ARMS, pairs, dropped=["b", "c"]).text == "a is ahead of b and c."


def test_an_arm_is_not_called_ahead_of_a_dropped_arm_that_lost_to_another_one() -> None:
    # a beats b, b beats c, and c was dropped before a and c could be told apart.
    pairs = reports_of_pairs("ahead", "undecided", "ahead")

    found = conclusion(THREE_ARMS, pairs, dropped=["c"])

    assert (found.verdict, found.arm, found.text) == ("ahead", "a", "a is ahead of b.")


@pytest.mark.parametrize(("count", "ties"), [(400, 0.0), (800, 1 / 3)])
def test_an_arm_that_wins_65_percent_of_the_votes_is_ahead(count: int, ties: float) -> None:
    found = [concluded(random_votes(count, 0.65, seed, ties)) for seed in range(40)]

    assert all((each.verdict, each.arm) == ("ahead", "compact") for each in found)
    assert found[0].text == "compact is ahead of original."


@cache
def names_an_arm(wins: float, votes: int) -> bool:
    """Whether a verdict names an arm after so many wins. Cached, since many experiments come to the same numbers."""
    interval = WinRate(wins=wins, votes=votes).interval(ALPHA / MEASURES)
    return verdict(interval, 0.02, EQUAL_WIN_RATE) in ("ahead", "behind")


@pytest.mark.parametrize("ties", [0.0, 0.3, 0.9])
def test_looked_at_after_each_vote_at_most_5_percent_of_500_even_experiments_name_an_arm(ties: float) -> None:
    experiments_with_verdict = 0
    for seed in range(500):
        drawn = random_votes(400, 0.5, seed, ties)
        # What `pair_reports` does with two arms, vote by vote.
        wins = 0.0
        has_named_arm = False
        for votes, vote in enumerate(drawn, 1):
            wins += EQUAL_WIN_RATE if vote == "both" else float(vote == "original")
            has_named_arm |= names_an_arm(wins, votes)
        assert has_named_arm or concluded(drawn).arm is None
        experiments_with_verdict += has_named_arm

    # 5 % of 500.
    assert experiments_with_verdict <= 25


@pytest.mark.parametrize("votes", [random_votes(1000, 0.5, 1), ["both"] * 400], ids=["alike", "ties alone"])
def test_arms_that_are_alike_are_equivalent_within_a_wide_margin(votes: list[str]) -> None:
    found = concluded(votes, margin=0.1)

    assert (found.verdict, found.arm) == ("equivalent", None)
    assert found.text == "original and compact are equivalent within the margin."


def test_ratings_decide_where_there_are_no_votes() -> None:
    draw = random.Random(0)
    records = {
        "original": rated(float(draw.random() < 0.5) for _ in range(600)),
        "compact": rated(float(draw.random() < 0.9) for _ in range(600)),
    }

    assert concluded([], records=records).arm == "compact"


def test_votes_and_ratings_that_contradict_each_other_name_nobody() -> None:
    records = {"original": rated([1.0] * 500), "compact": rated([0.0] * 500)}

    found = concluded(random_votes(400, 0.9, 0), records=records)

    assert (found.verdict, found.arm) == ("undecided", None)


def test_without_feedback_nothing_is_known() -> None:
    assert concluded([]).text == "Undecided: there is no feedback for two arms yet."


def test_a_vote_for_a_third_arm_says_nothing_about_the_other_two() -> None:
    arms = [*ARMS, Arm(variant="pruned", weight=2.0)]
    records = {arm.variant: ArmRecord() for arm in arms}
    lost = PairRecord(WinRate(wins=0, votes=100))
    votes = {("original", "compact"): PairRecord(), ("original", "pruned"): lost, ("compact", "pruned"): lost}

    pairs = pair_reports(arms, records, votes, 0.02)

    assert [(pair.first, pair.second, pair.votes and pair.votes.votes) for pair in pairs] == [
        ("original", "compact", None),
        ("original", "pruned", 100),
        ("compact", "pruned", 100),
    ]
    assert conclusion(arms, pairs).arm == "pruned"
