"""Durations are read as people write them, and no part of a run takes the time of what comes behind it."""

import pytest

from slimseq.compression.compress.time_plan import MIN_TRAINING_SECONDS, TimePlan, read_duration
from slimseq.compression.errors import BadParameters


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("3m", 180), ("60m", 3600), ("1.5h", 5400), ("1h30m", 5400), ("1d", 86_400)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["60", "", "m", "-3m", "3 minutes", "3m!", "1e3s"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadParameters, match=r"write 90s, 60m, 1\.5h or 1h30m"):
        read_duration(text)


def test_a_time_in_which_nothing_can_be_measured_is_refused() -> None:
    with pytest.raises(BadParameters, match="too short"):
        read_duration("20s")


def test_a_time_longer_than_a_month_is_refused() -> None:
    with pytest.raises(BadParameters, match="at most 30d"):
        read_duration("99999999d")


def test_a_part_takes_its_share_and_at_most_half_of_what_is_left() -> None:
    elapsed = 0.0
    plan = TimePlan(1000, lambda: elapsed)

    at_first = plan.part(0.1)
    elapsed = 950.0
    at_last = plan.part(0.1)

    assert at_first == 100
    assert at_last == 25


def test_training_leaves_the_time_for_measuring_and_publishing() -> None:
    plan = TimePlan(3600, lambda: 3600 * 0.88 - 1)

    assert plan.for_training < 1
    assert not plan.allows_training


def test_three_minutes_are_too_few_for_training_and_an_hour_is_enough() -> None:
    assert not TimePlan(180, lambda: 0.0).allows_training
    assert TimePlan(3600, lambda: 600.0).for_training > MIN_TRAINING_SECONDS


def test_nothing_is_left_behind_the_end() -> None:
    plan = TimePlan(100, lambda: 130.0)

    assert plan.left == 0
    assert plan.for_training == 0
