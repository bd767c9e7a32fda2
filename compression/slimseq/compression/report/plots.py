"""Draws the plots of a report: quality against cost with the Pareto front, and findings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from slimseq.compression.report.drawing import Plot, Theme, drawn
from slimseq.compression.report.facts import DatasetFacts, TaskFacts, VariantFacts
from slimseq.compression.report.findings import Finding
from slimseq.compression.report.numbers import MEGA, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vP*X"


@dataclass(frozen=True)
class Point:
    """One variant in a plot of quality against cost. `interval` is the 95 % interval of its quality."""

    name: str
    cost: float
    quality: float
    interval: tuple[float, float] | None = None


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
    """Draws retention of the primary metric against size, latency and memory, one set of plots for each reference.

    Plots without a variant that has both figures are left out.
    """
    setting = facts.setting.words() if facts.setting else ""
    costs = {
        "size": ("size of the weights, MB", "size of the weights", ""),
        "latency": ("median ms an output token", "latency", setting),
        "memory": ("resident memory, MB", "memory", setting),
    }
    references = facts.references()
    plots = []
    # Retentions relative to different models are not comparable.
    for reference in references:
        dataset = facts.main_dataset(reference)
        if dataset is None:
            continue
        group = "" if len(references) == 1 else re.sub(r"[^a-z0-9]+", "-", f"-{reference}")
        for cost, (label, words, measured) in costs.items():
            points = _points(facts, reference, dataset, cost)
            if not points:
                continue
            front = pareto_front(points)
            where = f"{dataset.title()}{'; ' + measured if measured else ''}"
            plots.append(
                drawn(
                    f"{facts.task.value}{group}-{cost}",
                    f"Retention of {facts.primary_metric}, relative to {reference}, against {words}. {where}. Bars are "
                    "95 % intervals, the line is the Pareto front: up and to the left is better.",
                    f"On the Pareto front of retention and {words}: "
                    + ", ".join(f"{point.name} ({plain(point.cost)}, {point.quality:.3f})" for point in front),
                    partial(
                        _scatter,
                        points=points,
                        x_label=label,
                        y_label=f"{facts.primary_metric} retention of {reference}",
                    ),
                )
            )
    return plots


def finding_plot(finding: Finding, name: str) -> Plot | None:
    """Draws loss against parameters for pruning candidates; None for other tables."""
    if not (finding.is_number("parameters") and finding.is_number("loss")):
        return None
    return drawn(
        name,
        "All measured shapes, before recovery training. The line is the Pareto front.",
        f"{len(finding.rows)} shapes, loss against parameters; the table has the numbers.",
        partial(_candidates, finding=finding),
    )


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


def _scatter(axes: "Axes", theme: Theme, points: Sequence[Point], x_label: str, y_label: str) -> None:
    front = pareto_front(points)
    if len(front) > 1:
        axes.step(
            [point.cost for point in front],
            [point.quality for point in front],
            where="post",
            color=theme.ink,
            linewidth=1,
            linestyle="--",
            label="Pareto front",
            zorder=1,
        )
    for point, colour, marker in zip(points, cycle(theme.series), cycle(MARKERS), strict=False):
        low, high = point.interval or (point.quality, point.quality)
        # A bootstrap interval may not contain its value.
        errors = [[max(0.0, point.quality - low)], [max(0.0, high - point.quality)]]
        axes.errorbar(
            [point.cost],
            [point.quality],
            yerr=errors,
            fmt=marker,
            color=colour,
            markersize=6.5 if point in front else 5,
            markerfacecolor=colour if point in front else theme.background,
            elinewidth=1.2,
            capsize=3,
            label=point.name,
            zorder=2,
        )
    axes.margins(x=0.1, y=0.15)
    axes.set_xlim(left=0)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(visible=True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _candidates(axes: "Axes", theme: Theme, finding: Finding) -> None:
    # Quality is the negative loss.
    points = [Point("", float(row["parameters"]) / MEGA, -float(row["loss"])) for row in finding.rows]
    front = pareto_front(points)
    axes.step(
        [point.cost for point in front],
        [-point.quality for point in front],
        where="post",
        color=theme.ink,
        linewidth=1,
        linestyle="--",
    )
    axes.scatter([point.cost for point in points], [-point.quality for point in points], color=theme.series[0], s=22)
    axes.set_xlabel("parameters, millions")
    axes.set_ylabel("loss, nats a token")
    axes.grid(visible=True)
