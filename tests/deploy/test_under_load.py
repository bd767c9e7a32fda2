"""The service under load, a real Prometheus, and every query of the dashboards, the alerts and the recording rules."""

import re
import subprocess
from pathlib import Path
from typing import Any

from tests.deploy.conftest import Prometheus, needs_prometheus
from tests.deploy.test_prometheus import dashboard, of_dashboards, panels
from tests.service.client import Service

# What Grafana fills in: a scrape interval of a second allows four of them, and the test has more patience.
RATE_INTERVAL = "15s"

# A metric with its labels and range: the words of PromQL are followed by a parenthesis or stand alone.
SELECTOR = re.compile(r"\b(?:up|slimseq_\w+|\w+:slimseq\w+:\w+)(?:\{[^}]*\})?(?:\[\w+\])?")

pytestmark = needs_prometheus


def rules(prometheus: Prometheus, kind: str) -> list[dict[str, Any]]:
    groups = prometheus.get("rules", type=kind)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def filled(expression: str, task: str = ".*", variant: str = ".*", replica: str = ".*") -> str:
    values = {"$__rate_interval": RATE_INTERVAL, "$task": task, "$variant": variant, "$replica": replica}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


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


@of_dashboards
def test_every_query_of_every_panel_has_data_under_load(path: Path, loaded: Prometheus) -> None:
    for panel in panels(path):
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            loaded.wait_for(filled(target["expr"]))


@of_dashboards
def test_the_variables_list_what_is_served_and_select_one_variant(path: Path, loaded: Prometheus) -> None:
    for variable in dashboard(path)["templating"]["list"]:
        # Only a cluster has replicas.
        if variable["type"] == "query" and variable["name"] != "replica":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert match, variable["query"]
            assert {sample["metric"][match[2]] for sample in loaded.wait_for(filled(match[1]))}, variable["name"]
    for panel in panels(path):
        for target in panel["targets"]:
            if "{{variant}}" in target["legendFormat"]:
                found = loaded.wait_for(filled(target["expr"], task="translation", variant="quantized"))
                of = {(sample["metric"]["task"], sample["metric"]["variant"]) for sample in found}
                assert of == {("translation", "quantized")}, panel["title"]
