"""The figure of a front, as SVG: speed and size against the quality that is kept, with 95 % intervals.

Two panels share the axis of quality. The figure is complete by itself, with a description for screen readers.
"""

from collections.abc import Callable, Sequence
from html import escape

from slimseq.compression.compress.candidate import FrontPoint
from slimseq.compression.compress.figures.svg import (
    Scale,
    document,
    line,
    round_logarithmic_ticks,
    round_ticks,
    text,
    text_width,
    vertical_text,
)

WIDTH, HEIGHT = 920.0, 470.0
# Edges of the panels, in pixels.
TOP, BOTTOM = 92.0, 408.0
PANELS = ((78.0, 480.0), (510.0, 912.0))
RADIUS = 5.0
# The place of a name beside its point, in pixels: how far aside, and shifts down, the best first.
ASIDE = 13.0
SHIFTS = (4.0, -12.0, 20.0, -28.0, 36.0)
FAR_SHIFTS = tuple(sign * shift for shift in range(20, 120, 10) for sign in (-1, 1))

Box = tuple[float, float, float, float]


def front_chart(
    points: Sequence[FrontPoint],
    keep: float,
    title: str,
    measure: str = "quality kept",
    original_bytes: int | None = None,
) -> str:
    """Returns the figure of a front.

    Args:
        points: the variants, at least one.
        keep: the bar: the share of quality that the user wants to keep.
        title: what was compressed.
        measure: what the share is of, such as "chrF kept".
        original_bytes: size of the original, which is shown beside its variants if it is given.
    """
    lows = [*(point.interval[0] for point in points), keep]
    highs = [*(point.interval[1] for point in points), keep]
    if original_bytes is not None:
        highs.append(1.0)
    margin = 0.08 * (max(highs) - min(lows)) or 0.01
    vertical = Scale(min(lows) - margin, max(highs) + margin, BOTTOM, TOP)
    originals = (None, None) if original_bytes is None else (1.0, original_bytes / 1e6)
    panels = [
        _Panel(PANELS[0], "times as fast as the original", lambda point: point.speed_up, originals[0]),
        _Panel(PANELS[1], "size, MB", lambda point: point.bytes / 1e6, originals[1]),
    ]
    parts = [text(20, 34, title, "title"), text(20, 57, _in_words(points, keep), "soft")]
    parts.append(vertical_text(22, (TOP + BOTTOM) / 2, measure, "soft"))
    for tick in round_ticks(vertical.low, vertical.high, 6):
        parts.append(text(PANELS[0][0] - 10, vertical(tick) + 4, f"{tick:.3g}", "soft number", "end"))
    for panel in panels:
        parts += panel.drawn(points, keep, vertical)
    return document(WIDTH, HEIGHT, title, _description(points, keep, measure), parts)


def _in_words(points: Sequence[FrontPoint], keep: float) -> str:
    legend = "Vertical lines are 95 % intervals. Hollow points are not shown to keep the bar."
    chosen = next((point for point in points if point.is_chosen), None)
    if chosen is None:
        return f"No variant keeps the bar of {keep:g}. {legend}"
    return (
        f"Chosen: {chosen.variant}, {chosen.speed_up:.1f} times as fast, {chosen.bytes / 1e6:.1f} MB, keeps "
        f"{chosen.retention:.3f}. {legend}"
    )


def _description(points: Sequence[FrontPoint], keep: float, measure: str) -> str:
    rows = "; ".join(f"{_point_in_words(point)}{' (chosen)' if point.is_chosen else ''}" for point in points)
    return f"{measure} against speed and size. The bar is {keep:g}. {rows}."


def _point_in_words(point: FrontPoint) -> str:
    low, high = point.interval
    return (
        f"{point.variant}: {point.speed_up:.2f} times as fast, {point.bytes / 1e6:.1f} MB, keeps {point.retention:.3f} "
        f"({low:.3f} to {high:.3f})"
    )


class _Panel:
    """One panel: quality against one other value."""

    def __init__(
        self,
        edges: tuple[float, float],
        label: str,
        value: Callable[[FrontPoint], float],
        original: float | None,
    ) -> None:
        self._left, self._right = edges
        self._label = label
        self._value = value
        self._original = original
        # Where names must not be.
        self._taken: list[Box] = []

    def drawn(self, points: Sequence[FrontPoint], keep: float, vertical: Scale) -> list[str]:
        values = [self._value(point) for point in points]
        if self._original is not None:
            values.append(self._original)
        horizontal = Scale(min(values) / 1.2, max(values) * 1.35, self._left, self._right, is_logarithmic=True)
        parts = [*self._axes(horizontal, vertical), *self._bar(keep, vertical(keep))]
        for point in points:
            x = horizontal(self._value(point))
            low, high = (vertical(each) for each in point.interval)
            self._taken.append((x - 10, high - 2, x + 10, low + 2))
        names = []
        if self._original is not None:
            x, y = horizontal(self._original), vertical(1.0)
            self._taken.append((x - 7, y - 7, x + 7, y + 7))
            parts.append(f'<path d="M{x - 6:.1f} {y:.1f}l6 -6 6 6 -6 6z" class="original"/>')
            names.append(self._name("original", x, y, "soft"))
        parts += [_drawn_point(point, horizontal(self._value(point)), vertical) for point in points]
        # The chosen one gets the best place.
        for point in sorted(points, key=lambda each: not each.is_chosen):
            style = "strong accent" if point.is_chosen else ""
            names.append(self._name(point.variant, horizontal(self._value(point)), vertical(point.retention), style))
        return parts + names

    def _axes(self, horizontal: Scale, vertical: Scale) -> list[str]:
        parts = []
        for tick in round_ticks(vertical.low, vertical.high, 6):
            parts.append(line((self._left, vertical(tick)), (self._right, vertical(tick)), "grid"))
        parts.append(line((self._left, BOTTOM), (self._right, BOTTOM), "axis"))
        for tick in round_logarithmic_ticks(horizontal.low, horizontal.high):
            x = horizontal(tick)
            parts.append(line((x, BOTTOM), (x, BOTTOM + 5), "axis"))
            parts.append(text(x, BOTTOM + 21, f"{tick:g}", "soft number", "middle"))
        parts.append(text((self._left + self._right) / 2, BOTTOM + 45, self._label, "soft", "middle"))
        return parts

    def _bar(self, keep: float, y: float) -> list[str]:
        label = f"bar {keep:g}"
        self._taken += [
            (self._left, y - 2, self._right, y + 2),
            (self._right - text_width(label), y - 20, self._right, y),
        ]
        return [
            line((self._left, y), (self._right, y), "bar"),
            text(self._right, y - 6, label, "soft accent", "end"),
        ]

    def _name(self, name: str, x: float, y: float, style: str) -> str:
        """Returns a name beside its point, where nothing else is if there is such a place."""
        width = text_width(name)
        places = [(x + ASIDE, y + shift) for shift in SHIFTS]
        places += [(x - ASIDE - width, y + shift) for shift in SHIFTS]
        # Above and below the interval.
        places += [(x - width / 2, y + shift) for shift in FAR_SHIFTS]
        inside = [place for place in places if self._left <= place[0] and place[0] + width <= self._right]
        boxes = [(left, base - 12, left + width, base + 4) for left, base in inside]
        free = [
            place for place, box in zip(inside, boxes, strict=True) if not any(_overlap(box, it) for it in self._taken)
        ]
        left, base = (free or inside or places)[0]
        self._taken.append((left, base - 12, left + width, base + 4))
        return text(left, base, name, f"halo {style}")


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _drawn_point(point: FrontPoint, x: float, vertical: Scale) -> str:
    """Returns a point with its interval and a tooltip."""
    y, low, high = (vertical(each) for each in (point.retention, *point.interval))
    shapes = [
        line((x, low), (x, high), "interval"),
        line((x - 4, low), (x + 4, low), "interval"),
        line((x - 4, high), (x + 4, high), "interval"),
    ]
    if point.is_chosen:
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS + 4:g}" class="ring"/>')
    style = "point" if point.keeps else "point hollow"
    shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS:g}" class="{style}"/>')
    group = "chosen" if point.is_chosen else "other"
    return f'<g class="{group}"><title>{escape(_point_in_words(point))}</title>{"".join(shapes)}</g>'
