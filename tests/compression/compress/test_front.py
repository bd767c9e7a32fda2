"""The front has the variants of which no other is better in everything, and not too many of them."""

from slimseq.compression.compress.candidate import FrontPoint
from slimseq.compression.compress.front import MAX_POINTS, best_points


def point(variant: str, retention: float, speed: float, size: int = 100) -> FrontPoint:
    return FrontPoint(
        variant=variant,
        title=variant,
        bytes=size,
        tokens_per_second=1000 * speed,
        speed_up=speed,
        retention=retention,
        interval=(retention - 0.01, retention + 0.01),
        lower_bound=retention - 0.008,
        keeps=True,
    )


def names(points: list[FrontPoint]) -> list[str]:
    return [each.variant for each in points]


def test_a_variant_that_is_worse_in_everything_is_left_out() -> None:
    points = [point("good", 0.99, 2.0), point("worse", 0.98, 1.9), point("fast", 0.97, 3.0)]

    assert names(best_points(points, None)) == ["good", "fast"]


def test_a_slower_variant_stays_if_it_is_smaller() -> None:
    points = [point("fast", 0.99, 2.0, size=100), point("small", 0.98, 1.9, size=50)]

    assert names(best_points(points, None)) == ["fast", "small"]


def test_of_two_equal_variants_both_stay() -> None:
    points = [point("one", 0.99, 2.0), point("two", 0.99, 2.0)]

    assert names(best_points(points, None)) == ["one", "two"]


def test_the_chosen_variant_stays_whatever_the_others_are() -> None:
    points = [point("good", 0.99, 2.0), point("chosen", 0.98, 1.9)]

    assert names(best_points(points, "chosen")) == ["good", "chosen"]


def test_of_many_variants_those_nearest_in_speed_go_first() -> None:
    points = [point(f"v{index}", 1 - index / 100, 1.0 + index) for index in range(MAX_POINTS)]
    near = point("near", 0.985, 2.01)

    found = names(best_points([*points, near], None))

    assert len(found) == MAX_POINTS
    assert "v0" in found and f"v{MAX_POINTS - 1}" in found
    assert not {"near", "v1"} <= set(found)
