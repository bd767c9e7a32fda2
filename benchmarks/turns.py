"""Measurements in turns: a machine's speed drifts by more within a minute than what is compared differs.

So two figures are compared only where both were taken within seconds of each other, several times over: what is said of
them is the median of the rounds' ratios, beside the least and the most.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from benchmarks.load import Figures


class Contestant(Protocol):
    """A server that loads can be put on, with a name that tells it from the others."""

    @property
    def name(self) -> str:
        """The name."""

    def closed(self, clients: int, seconds: float) -> Figures:
        """Returns the figures under clients that each wait for their answer."""

    def poisson(self, rate: float, seconds: float) -> Figures:
        """Returns the figures under requests that arrive at a rate."""


@dataclass(frozen=True)
class Ratio:
    """One figure by another: the median of all rounds, the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def in_turns(
    contestants: Sequence[Contestant], loads: Mapping[str, Callable[[Contestant], Figures]], rounds: int
) -> list[dict[str, dict[str, Figures]]]:
    """Measures servers in turns; every other round begins with the last.

    Args:
        contestants: what is measured.
        loads: how, by name; within a round, all take one load before the next.
        rounds: how often.

    Returns:
        For each round, each load's figures by server.
    """
    found = []
    for number in range(rounds):
        order = contestants if number % 2 == 0 else list(reversed(contestants))
        found.append({load: {each.name: measure(each) for each in order} for load, measure in loads.items()})
    return found


def ratio_of(pairs: Sequence[tuple[float | None, float | None]]) -> Ratio | None:
    """Returns the ratio of the first figures to the second ones, a pair a round; None where a round lacks one."""
    ratios = [first / second for first, second in pairs if first and second]
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios and len(ratios) == len(pairs) else None
