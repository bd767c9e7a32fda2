import pytest

from slimseq.compression.report.plots import Axis, Point, pareto_front


def names(points: list[Point]) -> list[str]:
    return [point.name for point in points]


def test_the_front_has_the_points_that_no_other_dominates_cheapest_first() -> None:
    points = [Point("original", 10, 1.0), Point("worse and dearer", 8, 0.90), Point("small", 2, 0.95), Point("c", 5, 1)]

    assert names(pareto_front(points)) == ["small", "c"]


def test_of_equal_costs_the_better_is_on_the_front_and_of_equal_points_both() -> None:
    points = [Point("worse", 2, 0.90), Point("a", 2, 0.95), Point("b", 2, 0.95)]

    assert names(pareto_front(points)) == ["a", "b"]


def test_ticks_are_round_and_within_the_axis() -> None:
    assert Axis("MB", 0, 21, 60, 440).ticks() == [0, 5, 10, 15, 20]
    assert Axis("retention", 0.916, 1.018, 290, 12).ticks() == pytest.approx([0.92, 0.94, 0.96, 0.98, 1.0])
