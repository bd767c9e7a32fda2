"""Servers that take turns are compared turn by turn, whatever the machine does between two turns."""

from dataclasses import astuple, dataclass, replace
from typing import Any

import pytest

from benchmarks.loads.load import Figures
from benchmarks.loads.turns import compare, ratio_of

ROUNDS = 5
NOTHING = Figures(0, 0, None, None, None, 0, 0)


class Machine:
    """Is slower at every turn; notes who was asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    def figures(self, name: str, amount: float, speed: float) -> Figures:
        self.asked.append((name, amount))
        drift = 0.9 ** len(self.asked)
        return Figures(speed * drift, 1.0, 1.0, 1 / (speed * drift), 1.0, 1, 0)


@dataclass(frozen=True)
class Server:
    """One on such a machine, as fast under either load."""

    machine: Machine
    name: str
    speed: float

    def closed(self, clients: int, seconds: float) -> Figures:
        assert seconds == 2
        return self.machine.figures(self.name, clients, self.speed)

    def poisson(self, rate: float, seconds: float) -> Figures:
        assert seconds == 2
        return self.machine.figures(self.name, rate, self.speed)


class Dead(Server):
    """Answers no client who waits."""

    def closed(self, clients: int, seconds: float) -> Figures:
        return NOTHING


class Failing(Server):
    """Answers some of what arrives."""

    def poisson(self, rate: float, seconds: float) -> Figures:
        return replace(super().poisson(rate, seconds), errors=1)


def compared(*servers: Server, clients: int = 1, rate: float = 1.0) -> dict[str, Any]:
    loads = {
        "throughput": (lambda each: each.closed(clients, seconds=2), "requests_per_second"),
        "p95": (lambda each: each.poisson(rate, seconds=2), "p95_ms"),
    }
    return compare({server.name: server for server in servers}, loads, ROUNDS)


def test_ratios_are_of_figures_that_were_taken_together() -> None:
    machine = Machine()
    servers = [Server(machine, "slimseq", 300), Server(machine, "other", 100)]

    found = compared(*servers, clients=32, rate=5.0)

    assert machine.asked[:8] == [
        *(("slimseq", 32), ("other", 32), ("slimseq", 5.0), ("other", 5.0)),
        *(("other", 32), ("slimseq", 32), ("other", 5.0), ("slimseq", 5.0)),
    ]
    assert len(found["rounds"]) == ROUNDS
    # Whoever is second in a round has nine tenths of the speed: most rounds began with the first.
    (name, ratios) = found["ratios"].popitem()
    throughput, p95 = ratios["throughput"], ratios["p95"]
    assert name == "other" and not found["ratios"], "the service is compared with itself"
    assert throughput is not None and astuple(throughput) == pytest.approx((3 / 0.9, 3 * 0.9, 3 / 0.9))
    assert p95 is not None and astuple(p95) == pytest.approx((0.9 / 3, 0.9 / 3, 1 / 0.9 / 3))
    assert str(throughput) == "3.33 (2.70 to 3.33)"


def test_the_ratio_is_that_of_the_median_round() -> None:
    found = ratio_of([(11, 10), (90, 10), (24, 20)])

    assert found is not None and astuple(found) == (1.2, 1.1, 9)


def test_a_server_that_answers_nothing_or_fails_has_no_ratio_under_that_load() -> None:
    machine = Machine()
    servers = [Server(machine, "slimseq", 1), Failing(machine, "other", 1), Dead(machine, "third", 1)]

    ratios = compared(*servers)["ratios"]

    assert ratios["third"]["throughput"] is None and ratios["third"]["p95"] is not None
    assert ratios["other"]["throughput"] is not None and ratios["other"]["p95"] is None


def test_servers_without_the_service_among_them_have_no_ratios() -> None:
    machine = Machine()

    found = compared(Server(machine, "original", 1), Server(machine, "other", 1))

    assert found["ratios"] == {}
