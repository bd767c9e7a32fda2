"""The scrape configuration under a real Prometheus, which finds the service's metrics by query."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service
from tests.service.conftest import free_port, running_service

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Prometheus, Debian's package `prometheus`"
)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        parameters = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.address}/api/v1/query?{parameters}", timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def wait_for(self, expression: str, seconds: float = 60) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if result := self.query(expression):
                    return result
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"Prometheus never found {expression}")


@pytest.fixture(scope="module")
def watched(embedded: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Prometheus]]:
    folder = tmp_path_factory.mktemp("prometheus")
    with running_service(folder / "log") as service:
        service.wait_until_ready()
        own = CONFIGURATION.read_text().replace("api:8000", f"127.0.0.1:{service.port}")
        assert str(service.port) in own
        (folder / "prometheus.yml").write_text(
            own.replace("scrape_interval: 5s", "scrape_interval: 1s").replace("3s", "1s")
        )
        port = free_port()
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield service, Prometheus(port)
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_the_configuration_is_one_that_prometheus_takes() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", CONFIGURATION], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_service_is_found_and_what_it_served_is_counted(watched: tuple[Service, Prometheus]) -> None:
    service, prometheus = watched

    answer = service.post("/translate?variant=quantized", {"text": "The sun is shining."})

    assert answer.status == 200
    [up] = prometheus.wait_for('up{job="slimseq"} == 1')
    assert up["value"][1] == "1"
    [tokens] = prometheus.wait_for('slimseq_output_tokens_total{task="translation",variant="quantized"} > 0')
    assert float(tokens["value"][1]) == answer.json["outputs"][0]["output_tokens"]


def test_the_metrics_follow_prometheus_naming(watched: tuple[Service, Prometheus]) -> None:
    service, _ = watched

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=service.get("/metrics").body, capture_output=True, check=False
    )

    complaints = [line for line in checked.stderr.decode().splitlines() if line.startswith("slimseq_")]
    assert complaints == []
