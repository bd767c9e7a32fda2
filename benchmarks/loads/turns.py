"""Measurements in turns: the speed of a machine drifts by more within a minute than the difference that is measured.

Two figures are compared only if both were measured within seconds of each other, several times. The result is the
median of the rounds' ratios, with the lowest and the highest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.command import Record
from benchmarks.loads.load import Figures

# The server that is compared with each other one.
SUBJECT = "slimseq"
# Servers are compared at this number of clients, or at the nearest one that was measured.
COMPARED_CLIENTS = 32
# How a server is measured, and the name of the figure that is compared, by the name of the load.
Loads = Mapping[str, tuple[Callable[[Any], Figures], str]]


@dataclass(frozen=True)
class Ratio:
    """The ratio of two figures: the median of all rounds, the lowest and the highest."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def compare(servers: Mapping[str, Any], loads: Loads, rounds: int) -> Record:
    """Measures servers in turns. Every other round begins with the last one.

    Returns:
        `rounds`, each with the figures by load and server, and `ratios` of `slimseq` by other server and load.
    """
    names = list(servers)
    orders = [names, names[::-1]]
    found = [
        {load: {name: measure(servers[name]) for name in orders[turn % 2]} for load, (measure, _) in loads.items()}
        for turn in range(rounds)
    ]
    ratios = {
        other: {
            load: ratio([(_figure(each[load][SUBJECT], name), _figure(each[load][other], name)) for each in found])
            for load, (_, name) in loads.items()
        }
        for other in servers
        if SUBJECT in servers and other != SUBJECT
    }
    return {"rounds": found, "ratios": ratios}


def ratio(pairs: Sequence[tuple[float | None, float | None]]) -> Ratio | None:
    """Returns the ratio of the first figures to the second ones, a pair for each round; None if a figure is missing."""
    ratios = [first / second for first, second in pairs if first and second]
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios and len(ratios) == len(pairs) else None


def _figure(figures: Figures, name: str) -> float | None:
    # With errors, latencies are those of the lucky requests.
    return None if figures.errors and name.endswith("_ms") else getattr(figures, name)
