"""Formats numbers, for tables of Markdown and of the command line."""

from collections.abc import Sequence

NOTHING = "\N{EM DASH}"
# The smallest p-value of 10,000 trials, rounded up.
MIN_P_VALUE = 0.001


def fixed(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    return "" if bounds is None else f"[{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]"


def bounded(value: float | None, bounds: Sequence[float] | None, digits: int = 3) -> str:
    """Returns a number and its interval, such as `0.981 [0.975, 0.987]`."""
    return f"{fixed(value, digits)} {interval(bounds, digits)}".rstrip()


def megabytes(count: int | None) -> str:
    return NOTHING if count is None else f"{count / 1e6:,.1f} MB"


def times(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:,.2f}\N{MULTIPLICATION SIGN}"


def p_value(value: float | None) -> str:
    """Returns a p-value with three decimals, `< 0.001` below that, or a dash for None."""
    if value is None:
        return NOTHING
    return f"< {MIN_P_VALUE}" if value < MIN_P_VALUE else f"{value:.3f}"
