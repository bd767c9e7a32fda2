"""Writes SVG figures as text: a document that is readable in light and dark, axes, and escaped text.

Figures use the fonts of the reader's system and no scripts, so that a file is complete by itself. Colours are classes,
whose values depend on the reader's colour scheme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
# Mean width of a letter, as a share of the font's size. Fonts differ, so it is an estimate.
LETTER_WIDTH = 0.56
# Number of colours for amounts: `--step0` is the weakest.
COLOURS = 7

STYLE = f"""
svg {{ font-family: {FONT}; background: var(--paper);
  --paper: #ffffff; --ink: #1f2430; --soft: #626a79; --line: #d5d9e0; --faint: #eceef2;
  --accent: #c2410c; --mark: #2f6690; --rest: #e4e4e4; --edge: #8b93a1;
  --step0: #e3eef7; --step1: #c3daec; --step2: #9bc0de; --step3: #6da0c9; --step4: #447fae; --step5: #275f8d;
  --step6: #123f66; }}
@media (prefers-color-scheme: dark) {{ svg {{
  --paper: #14171c; --ink: #e8eaee; --soft: #9aa3b2; --line: #3a404b; --faint: #232830;
  --accent: #fb923c; --mark: #7fb3d9; --rest: #34373d; --edge: #5d6675;
  --step0: #1d3245; --step1: #24486a; --step2: #2f618d; --step3: #417fb3; --step4: #669fce; --step5: #97c1e4;
  --step6: #d2e6f6; }} }}
text {{ fill: var(--ink); font-size: 13px; }}
.title {{ font-size: 17px; font-weight: 600; }}
.soft {{ fill: var(--soft); font-size: 12px; }}
.strong {{ font-weight: 600; }}
.accent {{ fill: var(--accent); }}
.axis {{ stroke: var(--line); stroke-width: 1; fill: none; }}
.grid {{ stroke: var(--faint); stroke-width: 1; }}
.number {{ font-variant-numeric: tabular-nums; }}
.small {{ fill: var(--soft); font-size: 10px; }}
.halo {{ paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }}
.bar {{ stroke: var(--accent); stroke-dasharray: 5 4; opacity: 0.75; }}
.other {{ --colour: var(--mark); }}
.chosen {{ --colour: var(--accent); }}
.interval, .ring {{ stroke: var(--colour); stroke-width: 1.5; fill: none; }}
.point {{ fill: var(--colour); stroke: var(--paper); stroke-width: 1.5; }}
.hollow {{ fill: var(--paper); stroke: var(--colour); }}
.original {{ fill: var(--soft); }}
.box {{ stroke: var(--edge); stroke-width: 0.75; }}
.scale {{ stroke: var(--soft); fill: none; }}
"""


@dataclass(frozen=True)
class Scale:
    """Maps values of an axis to pixels. `is_logarithmic` is for positive values."""

    low: float
    high: float
    first_pixel: float
    last_pixel: float
    is_logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.is_logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.first_pixel + (value - low) / (high - low) * (self.last_pixel - self.first_pixel)


def document(width: float, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    """Returns a whole SVG. Screen readers say its title and its description."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" aria-labelledby="title description">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(description)}</desc>',
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, content: str, style: str = "", anchor: str = "start") -> str:
    """Returns a line of text. `anchor` is `start`, `middle` or `end`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(content)}</text>'


def vertical_text(x: float, y: float, content: str, style: str = "") -> str:
    """Returns a line of text that is read from below, with its middle at a point."""
    return (
        f'<text transform="translate({x:.1f} {y:.1f}) rotate(-90)" class="{style}" text-anchor="middle">'
        f"{escape(content)}</text>"
    )


def line(start: tuple[float, float], end: tuple[float, float], style: str, extra: str = "") -> str:
    """Returns a line between two points."""
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}" {extra}/>'


def text_width(content: str, size: float = 13) -> float:
    """Returns about how wide a text is, in pixels."""
    return len(content) * size * LETTER_WIDTH


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """Returns at most about `count` round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def round_logarithmic_ticks(low: float, high: float) -> list[float]:
    """Returns a few round numbers from `low` to `high`, evenly spaced on a logarithmic axis where that is possible."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        ticks = [tick for tick in ticks if low <= tick * 1.0001 and tick <= high * 1.0001]
        if len(ticks) >= 3:
            return ticks
    return round_ticks(low, high, 4)
