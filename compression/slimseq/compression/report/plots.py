"""Draws the plots of a report, in a light and a dark theme: quality against cost, with the Pareto front."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from slimseq.compression.report.facts import DatasetFacts, TaskFacts, VariantFacts
from slimseq.compression.report.numbers import MEGA, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vP*X"
DOTS_PER_INCH = 160
INCHES = (6.4, 3.8)
FONT_POINTS = 9


@dataclass(frozen=True)
class Theme:
    """The colours of a plot. `series` is safe for all types of colour vision (Okabe and Ito 2008)."""

    background: str
    ink: str
    faint: str
    series: tuple[str, ...]


LIGHT = Theme("#ffffff", "#1f2430", "#d5d9e0", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"))
DARK = Theme("#171a21", "#e4e7ed", "#3a404c", ("#56b4e9", "#e69f00", "#2fc79a", "#e59ac2", "#8ecbf0", "#f0e442"))


@dataclass(frozen=True)
class Plot:
    """A drawn plot, as PNG for light and for dark pages.

    `name` is the file name without extension, `alternative` a description for readers who cannot see the plot. Width
    and height are in CSS pixels, of which each has two pixels of the image in each direction.
    """

    name: str
    caption: str
    alternative: str
    light: bytes
    dark: bytes
    width: int = round(INCHES[0] * DOTS_PER_INCH / 2)
    height: int = round(INCHES[1] * DOTS_PER_INCH / 2)

    def files(self) -> dict[str, bytes]:
        return {f"{self.name}.png": self.light, f"{self.name}-dark.png": self.dark}

    def address(self, is_dark: bool = False) -> str:
        return "data:image/png;base64," + base64.b64encode(self.dark if is_dark else self.light).decode()


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
            front = ", ".join(f"{each.name} ({plain(each.cost)}, {each.quality:.3f})" for each in pareto_front(points))
            where = f"{dataset.title()}{'; ' + measured if measured else ''}"
            y_label = f"{facts.primary_metric} retention of {reference}"
            light, dark = (_png(theme, points, label, y_label) for theme in (LIGHT, DARK))
            plots.append(
                Plot(
                    f"{facts.task.value}{group}-{cost}",
                    f"Retention of {facts.primary_metric}, relative to {reference}, against {words}. {where}. Bars are "
                    "95 % intervals, the line is the Pareto front: up and to the left is better.",
                    f"On the Pareto front of retention and {words}: {front}",
                    light,
                    dark,
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


def _png(theme: Theme, points: Sequence[Point], x_label: str, y_label: str) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The type stubs list every key as a literal, which no inferred dictionary type matches.
    settings: dict[Any, Any] = {
        "font.size": FONT_POINTS,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "axes.facecolor": theme.background,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "legend.frameon": False,
    }
    with rc_context(settings):
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        figure.set_facecolor(theme.background)
        axes = figure.add_subplot()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _scatter(axes, theme, points)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _scatter(axes: "Axes", theme: Theme, points: Sequence[Point]) -> None:
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
    axes.grid(visible=True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
