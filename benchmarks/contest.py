"""Servers under the same load in turns, several times over, and compared turn by turn.

A machine's speed drifts by more between two loads than servers differ in. So what is said of two of them is the median
of ratios whose figures were taken within seconds of each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from benchmarks.figures import Figures

ROUNDS = 5


class Contestant(Protocol):
    """A server that loads can be put on."""

    @property
    def name(self) -> str:
        """Tells it from the others."""

    def closed(self, clients: int, seconds: float) -> Figures:
        """Returns the figures under clients that each wait for their answer."""

    def poisson(self, rate: float, seconds: float) -> Figures:
        """Returns the figures under requests that arrive at a rate."""


@dataclass(frozen=True)
class Round:
    """What all servers did within a round, by name.

    Args:
        closed: for clients who wait.
        poisson: where requests arrive at random.
    """

    closed: dict[str, Figures]
    poisson: dict[str, Figures]


@dataclass(frozen=True)
class Ratio:
    """One server's figure by another's: the median of all rounds, the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


@dataclass(frozen=True)
class Contest:
    """All rounds.

    Args:
        clients: who waited for their answers.
        rate: requests that arrived a second.
        rounds: what was measured.
    """

    clients: int
    rate: float
    rounds: list[Round]

    def throughput(self, name: str, other: str) -> Ratio | None:
        """Returns one server's answers a second by another's; None where one gave none.

        Not tokens: where outputs end themselves, some searches write more of them for the same texts.
        """
        return _ratio([(each.closed[name], each.closed[other]) for each in self.rounds], _requests_per_second)

    def p95(self, name: str, other: str) -> Ratio | None:
        """Returns the same of the latency's 95th percentile where requests arrive at random; None where any failed."""
        return _ratio([(each.poisson[name], each.poisson[other]) for each in self.rounds], _p95_ms)

    def ratios(self, name: str) -> dict[str, dict[str, Ratio | None]]:
        """Returns a server's `throughput` and `p95` beside those of each other one; nothing where it took no part."""
        names = list(self.rounds[0].closed)
        others = [other for other in names if other != name] if name in names else []
        return {other: {"throughput": self.throughput(name, other), "p95": self.p95(name, other)} for other in others}


def contest(servers: Sequence[Contestant], clients: int, rate: float, seconds: float) -> Contest:
    """Puts servers under both loads in turns; every other round begins with the last.

    Args:
        servers: at least one.
        clients: how many wait for their answers.
        rate: requests a second.
        seconds: each load's length.
    """
    rounds = []
    for number in range(ROUNDS):
        order = servers if number % 2 == 0 else list(reversed(servers))
        rounds.append(
            Round(
                closed={each.name: each.closed(clients, seconds) for each in order},
                poisson={each.name: each.poisson(rate, seconds) for each in order},
            )
        )
    return Contest(clients, rate, rounds)


def _requests_per_second(figures: Figures) -> float | None:
    return figures.requests_per_second


def _p95_ms(figures: Figures) -> float | None:
    # Where some requests have no answer, the latencies are those of the lucky.
    return None if figures.errors else figures.p95_ms


def _ratio(pairs: Sequence[tuple[Figures, Figures]], of: Callable[[Figures], float | None]) -> Ratio | None:
    found = [(of(ours), of(theirs)) for ours, theirs in pairs]
    ratios = [ours / theirs for ours, theirs in found if ours and theirs]
    return Ratio(median(ratios), min(ratios), max(ratios)) if len(ratios) == len(pairs) else None
