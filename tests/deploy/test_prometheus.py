"""The scrape configuration and the rules under a real Prometheus and promtool."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import PROMETHEUS, Prometheus, needs_prometheus
from tests.service.client import Service

TESTS = Path(__file__).parent / "rules"
# A metric with its labels and range: the words of PromQL are followed by a parenthesis or stand alone.
SELECTOR = re.compile(r"\b(?:up|slimseq_\w+|\w+:slimseq\w+:\w+)(?:\{[^}]*\})?(?:\[\w+\])?")

pytestmark = [needs_prometheus, pytest.mark.alone]


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)


def rules(prometheus: Prometheus, kind: str) -> list[dict[str, Any]]:
    groups = prometheus.get("rules", type=kind)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    checked = promtool("check", "config", PROMETHEUS / "prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout


def test_rules_record_and_alert_what_their_unit_tests_say() -> None:
    tested = promtool("test", "rules", *sorted(TESTS.glob("*.yml")))

    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("kind", ["alert", "record"])
def test_every_rule_has_a_unit_test(kind: str) -> None:
    names = {
        name
        for path in (PROMETHEUS / "rules").glob("*.yml")
        for name in re.findall(rf"- {kind}: (\S+)", path.read_text(encoding="utf-8"))
    }
    expected = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.glob("*.yml"))

    assert names
    assert {name for name in names if name not in expected} == set()


def test_the_service_is_found_and_what_it_served_is_counted(watched: tuple[Service, Prometheus]) -> None:
    service, prometheus = watched

    answer = service.post("/translate?variant=quantized", {"text": "The sun is shining."})

    assert answer.status == 200
    [up] = prometheus.wait_for('up{job="slimseq"} == 1')
    assert up["value"][1] == "1"
    [tokens] = prometheus.wait_for('slimseq_output_tokens_total{task="translation",variant="quantized"} > 0')
    assert float(tokens["value"][1]) >= answer.json["outputs"][0]["output_tokens"]


def test_the_metrics_follow_prometheus_naming(watched: tuple[Service, Prometheus]) -> None:
    service, _ = watched

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=service.get("/metrics").body, capture_output=True, check=False
    )

    complaints = [line for line in checked.stderr.decode().splitlines() if line.startswith("slimseq_")]
    assert complaints == []


def test_every_recording_rule_has_data_under_load(loaded: Prometheus) -> None:
    recording = rules(loaded, "record")

    assert recording
    for rule in recording:
        labels = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
        loaded.wait_for(f"{rule['name']}{{{labels}}}")
        loaded.wait_for(rule["query"])
    assert {rule["health"] for rule in rules(loaded, "record")} == {"ok"}


def test_every_alert_is_about_series_that_exist_and_says_what_to_do(loaded: Prometheus) -> None:
    """A healthy service fires no alert, so its expression is empty. Each selector in it has data."""
    alerts = rules(loaded, "alert")

    assert alerts
    for alert in alerts:
        selectors = SELECTOR.findall(alert["query"])
        assert selectors, alert["query"]
        for selector in selectors:
            found = loaded.wait_for(f"last_over_time({selector})" if selector.endswith("]") else selector)
            assert found, alert["name"]
        assert alert["annotations"]["summary"] and len(alert["annotations"]["description"]) > 100
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert {alert["health"] for alert in rules(loaded, "alert")} == {"ok"}
