"""The Pareto front: variants that no other beats in both cost and quality."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One variant in a plot of quality against cost. `interval` is the 95 % interval of its quality."""

    name: str
    cost: float
    quality: float
    interval: tuple[float, float] | None = None


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Returns the points for which no other is at least as good in both, and better in one.

    Args:
        points: any number, in any order; a small cost and a high quality are good.

    Returns:
        The front, cheapest first; of points that are equal in both, all.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.quality)):
        is_equal = bool(front) and (front[-1].cost, front[-1].quality) == (point.cost, point.quality)
        if not front or point.quality > front[-1].quality or is_equal:
            front.append(point)
    return front
