"""Servers that take turns are compared turn by turn, whatever the machine does between two turns."""

from dataclasses import astuple, replace

import pytest

from benchmarks.contest import ROUNDS, Contest, Loads, contest
from benchmarks.figures import Figures

NOTHING = Figures(0, 0, None, None, None, 0, 0)


class Machine:
    """Servers on a machine that is slower at every turn; notes who was asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    def figures(self, name: str, amount: float, speed: float) -> Figures:
        self.asked.append((name, amount))
        drift = 0.9 ** len(self.asked)
        return Figures(speed * drift, 1.0, 1.0, 1 / (speed * drift), 1.0, 1, 0)

    def server(self, name: str, speed: float) -> Loads:
        return name, lambda clients: self.figures(name, clients, speed), lambda rate: self.figures(name, rate, speed)


def test_ratios_are_of_figures_that_were_taken_together() -> None:
    machine = Machine()

    found = contest([machine.server("slimseq", 300), machine.server("other", 100)], clients=32, rate=5.0)

    assert machine.asked[:8] == [
        *(("slimseq", 32), ("other", 32), ("slimseq", 5.0), ("other", 5.0)),
        *(("other", 32), ("slimseq", 32), ("other", 5.0), ("slimseq", 5.0)),
    ]
    assert len(found.rounds) == ROUNDS
    # Whoever is second in a round has nine tenths of the speed: most rounds began with the first.
    throughput, p95 = found.throughput("slimseq", "other"), found.p95("slimseq", "other")
    assert throughput is not None and astuple(throughput) == pytest.approx((3 / 0.9, 3 * 0.9, 3 / 0.9))
    assert p95 is not None and astuple(p95) == pytest.approx((0.9 / 3, 0.9 / 3, 1 / 0.9 / 3))
    assert str(throughput) == "3.33 (2.70 to 3.33)"
    assert found.ratios("slimseq") == {"other": {"throughput": throughput, "p95": p95}}
    assert found.ratios("third") == {}


def test_a_server_that_answers_nothing_or_fails_has_no_ratio() -> None:
    machine = Machine()
    fast = ("slimseq", lambda clients: machine.figures("slimseq", clients, 1), lambda rate: NOTHING)
    failing = ("other", lambda clients: NOTHING, lambda rate: replace(machine.figures("other", rate, 1), errors=1))

    found: Contest = contest([fast, failing], clients=1, rate=1.0)

    assert found.ratios("slimseq") == {"other": {"throughput": None, "p95": None}}
