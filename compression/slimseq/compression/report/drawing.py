"""Draws a plot as PNG in a light and a dark theme, with all colours and fonts. `plots` draws the content."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

Draw = Callable[["Axes", Theme], None]


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


def drawn(name: str, caption: str, alternative: str, draw: Draw) -> Plot:
    """Draws a plot in both themes. `draw` draws on the axes, with the colours of the theme."""
    light, dark = (_png(draw, theme) for theme in (LIGHT, DARK))
    return Plot(name, caption, alternative, light, dark)


def _png(draw: Draw, theme: Theme) -> bytes:
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
        draw(figure.add_subplot(), theme)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()
