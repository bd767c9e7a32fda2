"""The plots of a report: quality against cost, with the Pareto front. `report.html.jinja` draws them as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.compression.report.facts import DatasetFacts, TaskFacts, VariantFacts
from slimseq.compression.report.numbers import MEGA, plain

# Pixels: the area of the points, with space for the labels of both axes, and for names to its right.
LEFT, RIGHT, TOP, BOTTOM = 60.0, 440.0, 12.0, 290.0


@dataclass(frozen=True)
class Axis:
    """The values at the start and at the end of an axis, and where these are, in pixels."""

    label: str
    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Returns four to ten round values within the axis."""
        span = self.high - self.low
        step = 10.0 ** math.floor(math.log10(span))
        step /= 5 if span < 2 * step else 2 if span < 5 * step else 1
        return [number * step for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


@dataclass(frozen=True)
class Point:
    """One variant in a plot of quality against cost. `interval` is the 95 % interval of its quality."""

    name: str
    cost: float
    quality: float
    interval: tuple[float, float] | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        # A bootstrap interval may not contain its value.
        low, high = self.interval or (self.quality, self.quality)
        return min(low, self.quality), max(high, self.quality)


@dataclass(frozen=True)
class Plot:
    """A plot. `alternative` is a description for readers who cannot see it."""

    caption: str
    alternative: str
    x: Axis
    y: Axis
    points: list[Point]
    front: list[Point]

    def steps(self) -> str:
        """Returns the line of the Pareto front as an SVG path."""
        x, y = self.x, self.y
        first, *others = [(x.place(point.cost), y.place(point.quality)) for point in self.front]
        return f"M{first[0]},{first[1]}" + "".join(f"H{across}V{up}" for across, up in others)


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Returns the points that no other point dominates, cheapest first. Equal points are all kept.

    A point dominates another if it is at least as good in cost and quality, and better in one of them.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.quality)):
        is_equal = bool(front) and (front[-1].cost, front[-1].quality) == (point.cost, point.quality)
        if not front or point.quality > front[-1].quality or is_equal:
            front.append(point)
    return front


def trade_offs(facts: TaskFacts) -> list[Plot]:
    """Plots retention of the primary metric against size, latency and memory, one set of plots for each reference.

    Plots without a variant that has both figures are left out.
    """
    setting = facts.setting.words() if facts.setting else ""
    costs = {
        "size": ("size of the weights, MB", "size of the weights", ""),
        "latency": ("median ms an output token", "latency", setting),
        "memory": ("resident memory, MB", "memory", setting),
    }
    plots = []
    # Retentions relative to different models are not comparable.
    for reference in facts.references():
        dataset = facts.main_dataset(reference)
        for cost, (label, words, measured) in costs.items() if dataset else ():
            assert dataset is not None
            points = _points(facts, reference, dataset, cost)
            if not points:
                continue
            front = pareto_front(points)
            shown = ", ".join(f"{each.name} ({plain(each.cost)}, {each.quality:.3f})" for each in front)
            where = f"{dataset.title()}{'; ' + measured if measured else ''}"
            low, high = (choose(bound for each in points for bound in each.bounds) for choose in (min, max))
            margin = 0.15 * (high - low) or 0.05
            plots.append(
                Plot(
                    f"Retention of {facts.primary_metric}, relative to {reference}, against {words}. {where}. Bars are "
                    "95 % intervals, the line is the Pareto front: up and to the left is better.",
                    f"On the Pareto front of retention and {words}: {shown}",
                    Axis(label, 0.0, 1.1 * max(each.cost for each in points), LEFT, RIGHT),
                    Axis(f"{facts.primary_metric} retention", low - margin, high + margin, BOTTOM, TOP),
                    points,
                    front,
                )
            )
    return plots


def _points(facts: TaskFacts, reference: str, dataset: DatasetFacts, cost: str) -> list[Point]:
    scores = dict(dataset.scores[facts.primary_metric])
    points = []
    for variant in facts.variants:
        score, value = scores.get(variant.name), _cost(variant, cost)
        if variant.reference == reference and score is not None and score.retention is not None and value is not None:
            points.append(Point(variant.name, value, score.retention, score.retention_interval))
    return points


def _cost(variant: VariantFacts, cost: str) -> float | None:
    if cost == "size":
        return variant.disk_bytes / MEGA if variant.disk_bytes else None
    if variant.speed is None:
        return None
    return variant.speed.token_ms if cost == "latency" else variant.speed.measured.resident_bytes / MEGA
