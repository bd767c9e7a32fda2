"""Measurements in turns: several rounds, in each of which every server is measured once under each load.

The speed of a machine drifts within a minute by more than the difference that is measured. So two figures are compared
only within a round, in which they were measured within seconds of each other. The result is the median of the rounds'
ratios, with the lowest and the highest.
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
    """Measures servers in turns. Every other round begins with the last server.

    Returns:
        `rounds`, each with the figures by load and server, and `ratios` of `slimseq` by other server and load.
    """
    names = list(servers)
    found: list[dict[str, dict[str, Figures]]] = []
    for turn in range(rounds):
        order = names if turn % 2 == 0 else names[::-1]
        figures_of_loads = {}
        for load, (measure, _) in loads.items():
            figures_of_loads[load] = {name: measure(servers[name]) for name in order}
        found.append(figures_of_loads)

    ratios: dict[str, dict[str, Ratio | None]] = {}
    others = [name for name in servers if name != SUBJECT] if SUBJECT in servers else []
    for other in others:
        ratios[other] = {}
        for load, (_, figure) in loads.items():
            pairs = [(_figure(each[load][SUBJECT], figure), _figure(each[load][other], figure)) for each in found]
            ratios[other][load] = ratio(pairs)
    return {"rounds": found, "ratios": ratios}


def ratio(pairs: Sequence[tuple[float | None, float | None]]) -> Ratio | None:
    """Returns the ratio of the first figures to the second ones, a pair for each round; None if a figure is missing."""
    ratios = [first / second for first, second in pairs if first and second]
    if not ratios or len(ratios) < len(pairs):
        return None
    return Ratio(median(ratios), min(ratios), max(ratios))


def _figure(figures: Figures, name: str) -> float | None:
    # With errors, there are latencies only of the requests that were answered.
    if figures.errors and name.endswith("_ms"):
        return None
    value: float | None = getattr(figures, name)
    return value
