"""The figure of a model's structures, as SVG: what each costs in time, and what it is worth in loss.

Each layer has a row, with a bar for each of its parts. The length of a bar is the part's time. The bar is divided into
the steps in which the part can be made smaller: the first step to go is at the end of the bar. The colour of a step is
the loss that it adds. The last column is the removal of the whole layer.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from slimseq.compression.compress.figures.svg import COLOURS, document, text
from slimseq.compression.compress.structures.costs import PART_NAMES
from slimseq.compression.compress.structures.structure_rows import VOCABULARY, StructurePart, StructureRow

WIDTH = 920.0
# Places in pixels: the names of rows, the first column, and the last column, which says what a whole layer is worth.
NAMES, FIRST, LAST = 20.0, 112.0, 788.0
LEGEND, TOP, ROW, BAR = 80.0, 152.0, 23.0, 15.0
# Between columns, and above each group of rows.
GAP, GROUP_GAP = 24.0, 12.0
# A column has room for its title.
MIN_COLUMN = 112.0
# Shares of the time that the scale may show, and how long it may be in pixels.
SCALE_SHARES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
MAX_SCALE = 140.0
# Boxes from this width on, in pixels, have an edge.
MIN_EDGED = 4.0
# Smallest and largest losses that colours tell apart are at most so far from each other.
MAX_LOSS_RATIO = 1e5


LEGEND_WORDS = (
    "Length: time of one text. Colour: loss of each step in which a part gets smaller, the first step at the right. "
    "Grey: what stays of a part."
)


class _Colours:
    """The colour of each loss: equal steps of its logarithm. The strongest colour is the largest loss."""

    def __init__(self, losses: Sequence[float]) -> None:
        self.high = max(losses, default=1.0) or 1.0
        positive = [loss for loss in losses if loss > 0]
        self.low = max(min(positive, default=self.high), self.high / MAX_LOSS_RATIO)

    def of(self, loss: float | None) -> str:
        """Returns the fill of a loss; that of a loss that is not known is grey."""
        if loss is None:
            return "var(--rest)"
        if loss <= self.low or self.high <= self.low:
            return f"var(--step{0 if loss < self.high else COLOURS - 1})"
        share = math.log(loss / self.low) / math.log(self.high / self.low)
        return f"var(--step{min(int(share * COLOURS), COLOURS - 1)})"

    def bound(self, colour: int) -> float:
        """Returns the least loss that has a colour; for the number of colours, the largest loss."""
        return float(self.low * (self.high / self.low) ** (colour / COLOURS))


def structure_chart(rows: Sequence[StructureRow], title: str) -> str:
    """Returns the figure of a model's structures. `title` says which model it is."""
    steps = [step for row in rows for part in row.parts for step in part.steps]
    losses = [step.loss for step in steps if step.loss is not None]
    losses += [row.loss_without for row in rows if row.loss_without is not None]
    colours = _Colours(losses)
    layers = [row for row in rows if row.group != VOCABULARY]
    columns = [name for name in PART_NAMES.values() if any(name == part.name for row in layers for part in row.parts)]
    widest = {
        name: max(part.seconds_share for row in layers for part in row.parts if part.name == name) for name in columns
    }
    vocabulary = max((row.parts[0].seconds_share for row in rows if row.group == VOCABULARY), default=0.0)
    pixels = _pixels_of_all(widest, vocabulary)
    starts, x = {}, FIRST
    for name in columns:
        starts[name] = x
        x += max(pixels * widest[name], MIN_COLUMN) + GAP
    parts = [
        text(NAMES, 34, title, "title"),
        text(NAMES, 57, LEGEND_WORDS, "soft"),
        *_legend(colours),
        *_scale_bar(pixels),
    ]
    parts += [text(starts[name], TOP - 14, name.capitalize(), "strong") for name in columns]
    parts.append(text(LAST, TOP - 14, "Whole layer", "strong"))
    y, group = TOP, ""
    for row in rows:
        if row.group != group:
            y += GROUP_GAP if group else 0.0
            group = row.group
            label = group.capitalize()
            parts.append(text(NAMES, y + 12, label, "strong"))
        if row.group != VOCABULARY:
            parts.append(text(FIRST - 14, y + 12, row.name, "soft number", "end"))
        for part in row.parts:
            parts += _bar(row, part, starts.get(part.name, FIRST), y, pixels, colours)
        if row.group != VOCABULARY:
            parts += _without_layer(row, y, colours)
        y += ROW
    return document(WIDTH, y + 20, title, _description(rows), parts)


def _pixels_of_all(widest: Mapping[str, float], vocabulary: float) -> float:
    """Returns how many pixels the time of a whole text has, so that all columns and the vocabulary's row have room.

    Args:
        widest: the largest share of the time in each column.
        vocabulary: the vocabulary's share of the time. It has a row for itself.
    """
    room = LAST - FIRST - GAP * len(widest)
    shares = sorted(widest.values())
    # Columns that need only their least width leave the rest of the room to the others.
    while len(shares) > 1 and shares[0] * room / max(sum(shares), 1e-9) < MIN_COLUMN:
        shares.pop(0)
        room -= MIN_COLUMN
    return min(room / max(sum(shares), 1e-9), (LAST - FIRST - GAP) / max(vocabulary, 1e-9))


def _bar(row: StructureRow, part: StructurePart, x: float, y: float, pixels: float, colours: _Colours) -> list[str]:
    """Returns the bar of a part: what stays to the end first, then its steps, the first one to go last."""
    name = VOCABULARY if row.group == VOCABULARY else f"{row.group} layer {row.name}, {part.name}"
    rest_words = f"{name}: {part.rest_share:.1%} of the time stays"
    shapes = [_box(x, y, part.rest_share * pixels, "var(--rest)", rest_words)]
    x += part.rest_share * pixels
    for step in reversed(part.steps):
        loss = "loss not measured" if step.loss is None else f"{step.loss:.2g} nats a token"
        words = f"{name}: down to {step.kept:,} saves {step.seconds_share:.1%} of the time, {loss}"
        shapes.append(_box(x, y, step.seconds_share * pixels, colours.of(step.loss), words))
        x += step.seconds_share * pixels
    return shapes


def _box(x: float, y: float, width: float, fill: str, words: str) -> str:
    # A step that saves nothing is still visible. An edge would hide the colour of a narrow box.
    style = "box" if width >= MIN_EDGED else "thin"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.0):.1f}" height="{BAR:g}" fill="{fill}" class="{style}">'
        f"<title>{escape(words)}</title></rect>"
    )


def _without_layer(row: StructureRow, y: float, colours: _Colours) -> list[str]:
    if row.loss_without is None:
        return [text(LAST + BAR + 8, y + 12, "stays", "soft")]
    share = "" if row.layer_share is None else f", saves {row.layer_share:.1%} of the time"
    words = f"{row.group} layer {row.name}: its removal adds {row.loss_without:.2g} nats a token{share}"
    return [
        _box(LAST, y, BAR, colours.of(row.loss_without), words),
        text(LAST + BAR + 8, y + 12, f"+{row.loss_without:.2g}", "soft number"),
    ]


def _legend(colours: _Colours) -> list[str]:
    """Returns the colours and the losses between them, at the right."""
    width, y = 40.0, LEGEND
    x = WIDTH - 20 - width * COLOURS
    parts = [text(x - 12, y + 11, "nats a token", "soft", "end")]
    for colour in range(COLOURS):
        parts.append(_box(x + colour * width, y, width, f"var(--step{colour})", f"from {colours.bound(colour):.2g}"))
    for colour in range(1, COLOURS):
        parts.append(text(x + colour * width, y + 31, f"{colours.bound(colour):.1g}", "small number", "middle"))
    return parts


def _scale_bar(pixels: float) -> list[str]:
    """Returns a line that says how long some share of the time is."""
    share = next((share for share in SCALE_SHARES if share * pixels <= MAX_SCALE), SCALE_SHARES[-1])
    x, y, width = FIRST, LEGEND + BAR / 2, share * pixels
    return [
        f'<path d="M{x:.1f} {y - 4:.1f}v8m0 -4h{width:.1f}m0 -4v8" class="scale"/>',
        text(x + width + 10, y + 4, f"{share:.1%} of the time of one text".replace(".0%", " %"), "soft"),
    ]


def _description(rows: Sequence[StructureRow]) -> str:
    found = []
    for row in rows:
        name = row.name if row.group == VOCABULARY else f"{row.group} layer {row.name}"
        parts = [f"{part.name} {part.seconds_share:.1%} of the time" for part in row.parts]
        if row.loss_without is not None:
            parts.append(f"its removal adds {row.loss_without:.2g} nats a token")
        found.append(f"{name}: {', '.join(parts)}")
    return f"{'; '.join(found)}."
