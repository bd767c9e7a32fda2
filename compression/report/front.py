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


def pareto_front(points: Sequence[Point], is_more_better: bool = False) -> list[Point]:
    """Returns the points for which no other is at least as good in both, and better in one.

    Args:
        points: any number, in any order.
        is_more_better: whether a larger `cost` is the better one, as it is of tokens a second.

    Returns:
        The front, cheapest first; of points that are equal in both, all.
    """
    sign = -1 if is_more_better else 1
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (sign * point.cost, -point.quality)):
        is_equal = bool(front) and (front[-1].cost, front[-1].quality) == (point.cost, point.quality)
        if not front or point.quality > front[-1].quality or is_equal:
            front.append(point)
    return front
