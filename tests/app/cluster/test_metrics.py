"""The metrics of all replicas: a real Prometheus scrapes Ray's endpoints, with the configuration of `deploy/`."""

import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prometheus_client import CollectorRegistry, Gauge

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from ray._private.metrics_agent import PrometheusServiceDiscoveryWriter

from slimseq.app.cluster import metrics as ray_metrics
from slimseq.app.observability.service_metrics import SECONDS
from tests.app.cluster.nodes import Nodes, until
from tests.deploy.conftest import PROMETHEUS, Prometheus, needs_prometheus, running_prometheus
from tests.deploy.test_prometheus import DASHBOARDS, dashboard, panels
from tests.deploy.test_under_load import filled

TEXT = "Good morning."
# Ray's file of endpoints in the configuration.
DISCOVERY = "/tmp/ray/prom_metrics_service_discovery.json"


@pytest.fixture(scope="module")
def prometheus(deployed: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes both nodes each second."""
    folder = tmp_path_factory.mktemp("prometheus")
    # What the head node with Ray's dashboard, which the tests leave out, writes every five seconds.
    PrometheusServiceDiscoveryWriter(deployed.cluster.address, str(folder)).write()
    shutil.copytree(PROMETHEUS, folder / "configuration")
    configuration = folder / "configuration" / "cluster.yml"
    text = configuration.read_text(encoding="utf-8")
    for shipped, tested in ((DISCOVERY, str(folder / Path(DISCOVERY).name)), (": 10s", ": 1s"), (": 5s", ": 1s")):
        assert text.count(shipped) == 1
        text = text.replace(shipped, tested)
    configuration.write_text(text, encoding="utf-8")
    with running_prometheus(configuration, folder / "data") as running:
        yield running


@pytest.fixture(scope="module")
def answered(deployed: Nodes) -> dict[str, int]:
    """The requests that each replica has answered, by its name, as `GET /latency` counts them."""
    counts: dict[str, int] = {}

    def both_have_answered() -> bool:
        assert deployed.service.post("/translate?variant=quantized", {"text": TEXT}).status == 200
        report = deployed.service.get("/latency").json
        counts[report["replica"]] = sum(each["count"] for each in report["latencies"])
        return len(counts) == 2 and all(counts.values())

    def both_are_counted() -> bool:
        """Asks until a round of requests has brought nothing new: the counts above may be of earlier moments."""
        before = dict(counts)
        for _ in range(20):
            report = deployed.service.get("/latency").json
            counts[report["replica"]] = sum(each["count"] for each in report["latencies"])
        return counts == before

    until(both_have_answered)
    until(both_are_counted)
    return counts


def by_replica(prometheus: Prometheus, expression: str) -> dict[str, float]:
    found: list[dict[str, Any]] = prometheus.get("query", query=f"sum by (replica) ({expression})")["result"]
    return {each["metric"].get("replica", ""): float(each["value"][1]) for each in found}


@needs_prometheus
def test_prometheus_has_the_metrics_of_each_replica(prometheus: Prometheus, answered: dict[str, int]) -> None:
    series = "slimseq_generation_duration_seconds"

    until(lambda: by_replica(prometheus, f"{series}_count") == answered)

    assert by_replica(prometheus, 'slimseq_requests_total{route="/translate",status="2xx"}') == answered
    assert by_replica(prometheus, f'{series}_bucket{{le="+Inf"}}') == answered
    assert set(by_replica(prometheus, f"{series}_sum")) == set(answered)
    assert by_replica(prometheus, "slimseq_build_info") == dict.fromkeys(answered, 1.0)
    assert all(value > 2**20 for value in by_replica(prometheus, "process_resident_memory_bytes").values())
    found = prometheus.get("query", query=f"{series}_bucket")["result"]
    assert {float(each["metric"]["le"]) for each in found} == {*map(float, SECONDS), math.inf}
    # One replica on each node.
    assert len({each["metric"]["instance"] for each in found}) == 2
    assert {each["metric"]["job"] for each in found} == {"slimseq"}


@needs_prometheus
def test_the_sum_of_a_histogram_is_that_of_the_replica(prometheus: Prometheus, deployed: Nodes) -> None:
    """Ray's own histograms have a sum that is guessed from the buckets."""
    series = "slimseq_generation_duration_seconds_sum"
    pattern = re.compile(rf'^{series}\{{task="translation",variant="quantized"\}} (\S+)$', re.MULTILINE)

    def shown() -> float:
        """Returns what a replica shows itself, one of the two."""
        found = pattern.search(deployed.service.get("/metrics").body.decode())
        assert found
        return float(found[1])

    until(lambda: shown() in by_replica(prometheus, series).values())


@needs_prometheus
def test_the_dashboard_shows_one_replica(prometheus: Prometheus, answered: dict[str, int]) -> None:
    [path] = DASHBOARDS
    [variable] = [each for each in dashboard(path)["templating"]["list"] if each["name"] == "replica"]
    listed = re.fullmatch(r"label_values\((.+), replica\)", variable["query"]["query"])
    assert listed
    until(lambda: set(by_replica(prometheus, listed[1])) == set(answered))

    titles = ("Rows in the queue", "Memory", "Variants", "Memory of the process")
    chosen = [target["expr"] for panel in panels(path) if panel["title"] in titles for target in panel["targets"]]
    assert len(chosen) > len(titles)
    for expression in chosen:
        if "budget" in expression:
            continue
        for name in answered:
            assert prometheus.wait_for(filled(expression, replica=name))
        assert prometheus.get("query", query=filled(expression, replica="none"))["result"] == []


def test_responses_say_which_replica_answers(deployed: Nodes, answered: dict[str, int]) -> None:
    service = deployed.service

    for path in ("/latency", "/memory", "/variants", "/variants/translation/quantized"):
        # Ray chooses a replica for each request.
        assert {service.get(path).json["replica"] for _ in range(30)} == set(answered)


class ShownGauge:
    """Stands for a gauge of Ray: keeps the last value of each series."""

    shown: ClassVar[dict[tuple[str, str], float]] = {}

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        assert description and "replica" in tag_keys
        self._name = name

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.shown[self._name, str(sorted(tags.items()))] = value


def test_a_series_that_is_gone_has_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_metrics, "Gauge", ShownGauge)
    registry = CollectorRegistry()
    gauge = Gauge("slimseq_tested", "What is tested.", ("variant",), registry=registry)
    metrics = ray_metrics.RayMetrics(registry, "first")

    gauge.labels("compact").set(2)
    metrics.publish()
    [before] = ShownGauge.shown.values()
    gauge.remove("compact")
    metrics.publish()
    [after] = ShownGauge.shown.values()
    gauge.labels("compact").set(3)
    metrics.publish()

    assert before == 2 and math.isnan(after) and list(ShownGauge.shown.values()) == [3]
