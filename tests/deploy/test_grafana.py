"""The dashboards, without a Prometheus: how their panels lie, what they say, and where they are mounted."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import ROOT

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
COLUMNS = 24

of_dashboards = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


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
