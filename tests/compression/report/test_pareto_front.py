from slimseq.compression.report.plots import Point, pareto_front


def names(points: list[Point]) -> list[str]:
    return [point.name for point in points]


def test_the_front_has_the_points_that_no_other_dominates_cheapest_first() -> None:
    points = [Point("original", 10, 1.0), Point("worse and dearer", 8, 0.90), Point("small", 2, 0.95), Point("c", 5, 1)]

    assert names(pareto_front(points)) == ["small", "c"]


def test_of_equal_costs_the_better_is_on_the_front_and_of_equal_points_both() -> None:
    points = [Point("worse", 2, 0.90), Point("a", 2, 0.95), Point("b", 2, 0.95)]

    assert names(pareto_front(points)) == ["a", "b"]
