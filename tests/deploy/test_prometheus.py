"""Prometheus' configuration and rules, as the real promtool reads them, and the dashboards of Grafana."""

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
@pytest.mark.parametrize("name", ["prometheus.yml", "cluster.yml"])
def test_prometheus_takes_the_configuration_and_the_rules(name: str, tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    configuration, key = tmp_path / name, tmp_path / "prometheus.key"
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

of_dashboards = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def test_compose_mounts_what_grafana_and_prometheus_read() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    mounts = dict(re.findall(r"- \./(deploy/\S+?):(/\S+?):ro", compose))
    provider = (GRAFANA / "provisioning" / "dashboards" / "slimseq.yml").read_text(encoding="utf-8")
    [folder] = re.findall(r"path: (\S+)", provider)
    [home] = re.findall(r"DEFAULT_HOME_DASHBOARD_PATH: (\S+)", compose)

    assert mounts["deploy/grafana/dashboards"] == folder and mounts["deploy/prometheus/rules"]
    assert (GRAFANA / "dashboards" / Path(home).relative_to(folder)).is_file()
    assert all((ROOT / source).exists() for source in mounts)


@of_dashboards
def test_every_series_of_a_panel_is_that_of_the_chosen_replicas(path: Path) -> None:
    """A series that a recording rule makes, with a colon in its name, is about the service as a whole."""
    selectors = [
        (panel["title"], name, labels)
        for panel in panels(path)
        for target in panel["targets"]
        for name, labels in re.findall(r"(?<![:\w])(slimseq_\w+)(\{[^}]*\})?", target["expr"])
    ]

    assert len(selectors) > 30
    for title, name, labels in selectors:
        assert 'replica=~"$replica"' in labels, (title, name)
