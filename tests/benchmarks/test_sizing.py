import json
import math
from pathlib import Path

import pytest

from benchmarks.command import BenchmarkFailed
from benchmarks.sizing import MAX_SHARE, Fit, Replica, fit, main
from tests.compression.tiny import tiny_artifact, tiny_context
from tests.families import Family

REPLICA = Replica(Fit(fixed=0.03, each=0.02), p95_ratio=2.0, tokens=20.0, resident_bytes=2**30)


def test_the_fit_finds_the_line_that_loads_were_made_of() -> None:
    line, clients = Fit(0.03, 0.005), (1, 4, 16, 64)

    found = fit(clients, [line.rate(count) for count in clients])

    assert found.fixed == pytest.approx(0.03) and found.each == pytest.approx(0.005)
    assert found.capacity == pytest.approx(200)


def test_a_replica_that_one_request_fills_has_no_fixed_part() -> None:
    found = fit((1, 2, 4), [50.0, 49.0, 45.0])

    assert found.fixed == 0 and found.capacity == pytest.approx(48, rel=0.05)


@pytest.mark.parametrize("rates", [[10.0, 0.0], [10.0, 40.0], [10.0, 38.0]])
def test_loads_that_say_nothing_about_the_capacity_are_refused(rates: list[float]) -> None:
    with pytest.raises(BenchmarkFailed):
        fit((1, 4), rates)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_latency_of_a_constant_rate_is_that_of_processor_sharing(share: float) -> None:
    # M/G/1 with processor sharing: mean service time / (1 - share).
    assert Fit(0.0, 0.02).mean_seconds(share * 50) == pytest.approx(0.02 / (1 - share), rel=1e-6)


def test_latency_is_that_of_one_request_without_load_and_infinite_at_capacity() -> None:
    line = Fit(0.03, 0.02)

    assert line.mean_seconds(1e-9) == pytest.approx(0.05)
    assert math.isinf(line.mean_seconds(50.0))


@pytest.mark.parametrize("arrivals", [1.0, 39.0, 400.0, 4000.0])
def test_a_plan_keeps_the_latency_with_the_fewest_replicas(arrivals: float) -> None:
    plan = REPLICA.plan(arrivals, p95_seconds=0.3, price=0.5)

    replicas = plan["replicas"]
    fewer = REPLICA.fit.mean_seconds(arrivals / (replicas - 1)) * 2 if replicas > 1 else math.inf
    assert plan["p95_ms"] <= 300 and plan["share"] <= MAX_SHARE
    assert fewer > 0.3 or arrivals / (replicas - 1) > MAX_SHARE * 50
    assert plan["resident_bytes"] == replicas * 2**30 and plan["price_an_hour"] == replicas * 0.5
    assert plan["price_a_million_tokens"] == pytest.approx(replicas * 0.5 / (arrivals * 20 * 3600) * 1e6)


def test_a_latency_that_no_number_of_replicas_reaches_adds_none() -> None:
    assert REPLICA.plan(100.0, p95_seconds=0.01, price=0.5)["replicas"] == math.ceil(100 / (MAX_SHARE * 50))


def test_the_command_says_what_was_measured_and_what_is_projected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)
    file, store = tmp_path / "sizing.json", str(context.store.root)
    few = ("--seconds", "0.5", "--concurrent", "1", "16", "--shares", "0.3", "--clients", "10", "100")

    main(["--store", store, "--variant", "original", "--threads", "1", "--json", str(file), *few])

    shown, found = capsys.readouterr().out, json.loads(file.read_text(encoding="utf-8"))
    assert [load["clients"] for load in found["closed"]] == [1, 16]
    assert [plan["clients"] for plan in found["plans"]] == [10, 100]
    assert found["arriving"][0]["mean_ms"] > 0 and found["replica"]["resident_bytes"] > 0
    assert "### Measured: one replica" in shown and "### Projected: clients" in shown
    assert "None of this was measured" in shown
