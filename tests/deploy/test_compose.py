"""docker-compose.yml and what it mounts, without a container. `.ci/compose` brings it up."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from slimseq.app.http.keys import Scope, read_keys
from slimseq.app.settings import Settings
from tests.deploy.conftest import PROMETHEUS, ROOT

COMPOSE = ROOT / "docker-compose.yml"
MAKE_KEYS = ROOT / "deploy" / "compose" / "make-keys.sh"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of keys, and a command `slimseq` in `bin` beside it."""
    command = tmp_path / "bin" / "slimseq"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m slimseq "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys"


def make_keys(folder: Path, admin_token: str = "") -> str:
    environment = {
        **os.environ,
        "PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}",
        "SLIMSEQ_KEYS_FILE": str(folder / "keys.json"),
        "SLIMSEQ_ADMIN_TOKEN": admin_token,
    }
    made = subprocess.run(["sh", MAKE_KEYS], env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_the_first_start_makes_a_key_for_operators_and_one_for_prometheus(folder: Path) -> None:
    shown = make_keys(folder)

    admin, prometheus = read_keys(folder / "keys.json")
    [token] = re.findall(r"slq_\S+", shown)
    assert admin.scopes == (Scope.ADMIN,) and admin.is_of(token)
    assert prometheus.scopes == (Scope.METRICS,)
    assert prometheus.is_of((folder / "prometheus.key").read_text().strip())
    assert stat.S_IMODE((folder / "prometheus.key").stat().st_mode) == 0o444


def test_a_second_start_makes_no_keys_but_what_is_missing(folder: Path) -> None:
    make_keys(folder)
    keys, prometheus = read_keys(folder / "keys.json"), (folder / "prometheus.key").read_text()

    assert "slq_" not in make_keys(folder)
    assert read_keys(folder / "keys.json") == keys
    assert (folder / "prometheus.key").read_text() == prometheus

    # As if the first start had been interrupted.
    (folder / "prometheus.key").unlink()
    make_keys(folder)

    _, renewed = read_keys(folder / "keys.json")
    assert renewed.is_of((folder / "prometheus.key").read_text().strip())


def test_a_token_of_the_operator_is_used_instead_of_a_key_that_is_made(folder: Path) -> None:
    shown = make_keys(folder, admin_token="given")

    [prometheus] = read_keys(folder / "keys.json")
    assert prometheus.name == "prometheus"
    assert "given" not in shown and "slq_" not in shown


def test_no_part_may_more_than_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] and service["mem_limit"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert {name for name, each in services.items() if not each.get("read_only")} == {"grafana"}


def test_prometheus_reads_the_key_that_is_made_for_it(services: dict[str, Any]) -> None:
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = configuration["scrape_configs"]
    read = Path(job["authorization"]["credentials_file"])

    assert read == Path(services["keys"]["environment"]["SLIMSEQ_KEYS_FILE"]).with_name("prometheus.key")
    for name in ("api", "prometheus"):
        assert f"keys:{read.parent}:ro" in services[name]["volumes"]


def test_replicas_are_the_same_service_and_nginx_and_prometheus_find_all_of_them(services: dict[str, Any]) -> None:
    api, replica, proxy = services["api"], services["replica"], services["proxy"]
    differences = {name for name in {*api, *replica} if api.get(name) != replica.get(name)}
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    nginx = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")

    # A port of the machine can belong to one of them.
    assert differences == {"build", "ports", "profiles", "deploy"}
    assert replica["networks"]["default"]["aliases"] == ["service"] and "server service:8000" in nginx
    assert set(replica["profiles"]) <= set(proxy["profiles"]) and proxy["depends_on"]["replica"]["required"] is False
    [job] = scraped
    assert job["static_configs"] == [{"targets": ["api:8000"]}]
    assert [each["names"] for each in job["dns_sd_configs"]] == [["replica"]]


def test_the_example_names_every_variable_and_only_settings_that_exist() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#(\w+)=", example, re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    settings = {f"SLIMSEQ_{name.upper()}" for name in Settings.model_fields}

    assert used <= named
    assert {name for name in named if name.startswith("SLIMSEQ_")} <= settings
    assert named - settings - used == {"COMPOSE_PROFILES"}


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="needs docker-compose")
def test_docker_compose_takes_the_file_with_all_that_the_example_has(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / ".env").write_text(re.sub(r"^#(\w+=)", r"\1", example, flags=re.MULTILINE), encoding="utf-8")
    command = ["docker-compose", "--file", str(COMPOSE), "--env-file", str(tmp_path / ".env"), "config", "--services"]

    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stderr
    assert sorted(checked.stdout.split()) == ["api", "grafana", "keys", "postgres", "prometheus", "redis"]
