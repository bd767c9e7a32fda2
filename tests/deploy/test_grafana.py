"""The dashboards: every query of every panel has data in a real Prometheus while the service is under load."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import ROOT, Prometheus, needs_prometheus

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
COLUMNS = 24
# What Grafana fills in: a scrape interval of a second allows four of them, and the test has more patience.
RATE_INTERVAL = "15s"

of_dashboards = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def filled(expression: str, task: str = ".*", variant: str = ".*") -> str:
    for name, value in (("$__rate_interval", RATE_INTERVAL), ("$task", task), ("$variant", variant)):
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


@needs_prometheus
@pytest.mark.alone
@of_dashboards
def test_every_query_of_every_panel_has_data_under_load(path: Path, loaded: Prometheus) -> None:
    for panel in panels(path):
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            loaded.wait_for(filled(target["expr"]))


@needs_prometheus
@pytest.mark.alone
@of_dashboards
def test_the_variables_list_what_is_served_and_select_one_variant(path: Path, loaded: Prometheus) -> None:
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert match, variable["query"]
            assert {sample["metric"][match[2]] for sample in loaded.wait_for(filled(match[1]))}, variable["name"]
    for panel in panels(path):
        for target in panel["targets"]:
            if "{{variant}}" in target["legendFormat"]:
                found = loaded.wait_for(filled(target["expr"], task="translation", variant="quantized"))
                of = {(sample["metric"]["task"], sample["metric"]["variant"]) for sample in found}
                assert of == {("translation", "quantized")}, panel["title"]


@of_dashboards
def test_panels_lie_side_by_side_and_say_what_they_show(path: Path) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard(path)["panels"]:
        at = panel["gridPos"]
        own = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert at["x"] + at["w"] <= COLUMNS and not own & cells, panel["title"]
        cells |= own
    for panel in panels(path):
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    identifiers = [panel["id"] for panel in dashboard(path)["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_compose_mounts_what_grafana_and_prometheus_read() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    mounts = dict(re.findall(r"- \./(deploy/\S+?):(/\S+?):ro", compose))
    provider = (GRAFANA / "provisioning" / "dashboards" / "slimseq.yml").read_text(encoding="utf-8")
    [folder] = re.findall(r"path: (\S+)", provider)
    [home] = re.findall(r"DEFAULT_HOME_DASHBOARD_PATH: (\S+)", compose)

    assert mounts["deploy/grafana/dashboards"] == folder and mounts["deploy/prometheus/rules"]
    assert (GRAFANA / "dashboards" / Path(home).relative_to(folder)).is_file()
    assert all((ROOT / source).exists() for source in mounts)
