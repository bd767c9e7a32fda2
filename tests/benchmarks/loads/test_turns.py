"""Servers that take turns are compared turn by turn, whatever the machine does between two turns."""

from dataclasses import astuple, dataclass
from typing import Any

import pytest

from benchmarks.loads.load import Figures
from benchmarks.loads.turns import compare, ratio

ROUNDS = 5


@dataclass(frozen=True)
class Server:
    """A server on a machine that every measurement makes slower by a tenth. `asked` notes all measurements in order."""

    name: str
    speed: float
    asked: list[tuple[str, float]]
    errors: int = 0

    def closed(self, clients: int) -> Figures:
        return self.poisson(clients)

    def poisson(self, rate: float) -> Figures:
        self.asked.append((self.name, rate))
        speed = self.speed * 0.9 ** len(self.asked)
        return Figures(speed, 1.0, 1.0, 1 / speed, 1, self.errors)


def compared(*servers: Server) -> dict[str, Any]:
    loads = {
        "throughput": (lambda each: each.closed(32), "requests_per_second"),
        "p95": (lambda each: each.poisson(5.0), "p95_ms"),
    }
    return compare({server.name: server for server in servers}, loads, ROUNDS)


def test_ratios_are_of_figures_that_were_taken_together() -> None:
    asked: list[tuple[str, float]] = []

    found = compared(Server("slimseq", 300, asked), Server("other", 100, asked))

    assert asked[:8] == [
        *(("slimseq", 32), ("other", 32), ("slimseq", 5.0), ("other", 5.0)),
        *(("other", 32), ("slimseq", 32), ("other", 5.0), ("slimseq", 5.0)),
    ]
    assert len(found["rounds"]) == ROUNDS
    # Whoever is second in a round has nine tenths of the speed: most rounds began with the first.
    (name, ratios) = found["ratios"].popitem()
    throughput, p95 = ratios["throughput"], ratios["p95"]
    assert name == "other" and not found["ratios"], "the service is compared with itself"
    assert throughput is not None
    assert astuple(throughput) == pytest.approx((3 / 0.9, 3 * 0.9, 3 / 0.9))
    assert p95 is not None
    assert astuple(p95) == pytest.approx((0.9 / 3, 0.9 / 3, 1 / 0.9 / 3))
    assert str(throughput) == "3.33 (2.70 to 3.33)"


def test_the_ratio_is_that_of_the_median_round() -> None:
    found = ratio([(11, 10), (90, 10), (24, 20)])

    assert found is not None
    assert astuple(found) == (1.2, 1.1, 9)
    assert ratio([(11, 10), (None, 10)]) is None


def test_latencies_of_a_server_that_fails_are_not_compared() -> None:
    ratios = compared(Server("slimseq", 1, []), Server("other", 1, [], errors=1))["ratios"]["other"]

    assert ratios["throughput"] is not None
    assert ratios["p95"] is None
