"""Prometheus' configuration and rules, as the real promtool reads them, and the dashboards of Grafana."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import PROMETHEUS, ROOT, needs_prometheus

TESTS = Path(__file__).parent / "rules"


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)


@needs_prometheus
def test_prometheus_takes_the_configuration_and_the_rules(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    configuration, key = tmp_path / "prometheus.yml", tmp_path / "prometheus.key"
    # In the container the file of the key is elsewhere, and promtool looks for it.
    configuration.write_text(configuration.read_text().replace("/etc/slimseq/prometheus.key", str(key)))
    key.write_text("key")

    checked = promtool("check", "config", configuration)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout


@needs_prometheus
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


def test_every_alert_leads_to_its_section_of_the_runbook() -> None:
    runbook = ROOT / "docs" / "guides" / "runbook.md"
    [group] = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in group["rules"]}
    sections = re.findall(r"^## (\S+)$", runbook.read_text(encoding="utf-8"), re.MULTILINE)

    assert list(alerts) == sections
    for name, url in alerts.items():
        assert url.endswith(f"/{runbook.relative_to(ROOT)}#{name.lower()}")


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
