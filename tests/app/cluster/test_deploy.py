"""`slimseq deploy ray`: what is in the config, and what is refused."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import invoked

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLIMSEQ_")]:
        monkeypatch.delenv(name)


# In this process: to import Ray again takes seconds.
deploy = partial(invoked, "deploy", "ray")


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Returns a config, its settings and its deployment."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    application = config["applications"][0]
    return config, application["args"]["settings"], application["deployments"][0]


def test_the_config_has_the_settings_the_scale_and_the_digests_but_no_secret(
    embedded: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "serve.yaml"
    options = ("--store", embedded.root, "--port", "8123", "--max-texts", "5", "--cpus", "3", "--max-replicas", "7")
    monkeypatch.setenv("SLIMSEQ_REQUEST_TIMEOUT_SECONDS", "20")
    monkeypatch.setenv("SLIMSEQ_ADMIN_TOKEN", "very-secret")
    monkeypatch.setenv("SLIMSEQ_DATABASE_URL", "sqlite:////very-secret.db")

    done = deploy(path, *options)

    assert done.code == 0 and "serve run" in done.out, done.error
    config, settings, deployment = read(path)
    assert config["http_options"] == {"host": "127.0.0.1", "port": 8123, "request_timeout_s": 25.0}
    assert settings == {
        "workers": 3,
        "threads": 1,
        "store": str(embedded.root.resolve()),
        "max_texts": 5,
        "request_timeout_seconds": 20.0,
    }
    assert deployment["ray_actor_options"] == {"num_cpus": 3}
    assert deployment["autoscaling_config"]["max_replicas"] == 7
    digests = config["applications"][0]["args"]["digests"]
    assert digests["translation/original"] == embedded.manifest(Task.TRANSLATION, "original").digest
    assert "very-secret" not in path.read_text(encoding="utf-8")


def test_no_config_is_replaced_without_force(embedded: Store, tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text("mine", encoding="utf-8")

    refused = deploy(path, "--store", embedded.root)
    kept = path.read_text(encoding="utf-8")
    forced = deploy(path, "--store", embedded.root, "--force")

    assert (refused.code, kept) == (1, "mine") and "--force replaces it" in refused.error
    assert forced.code == 0 and read(path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--min-replicas", "3", "--max-replicas", "2"], "--min-replicas is 3, and --max-replicas 2"),
        (["--cpus", "0"], "--cpus"),
        (["--default-translation", "missing"], "translation has no variant 'missing'"),
        (["--store", "nowhere"], "there is no store at ./nowhere"),
        (["--max-texts", "many"], "max_texts"),
    ],
)
def test_what_cannot_be_deployed_is_named_on_one_line_and_writes_nothing(
    words: list[str], reason: str, embedded: Store, tmp_path: Path
) -> None:
    path = tmp_path / "serve.yaml"

    done = deploy(path, *(words if "--store" in words else [*words, "--store", str(embedded.root)]))

    assert done.code == 1 and not path.exists()
    assert reason in done.error and len(done.error.splitlines()) == 1


def test_a_folder_that_is_not_there_is_named(embedded: Store, tmp_path: Path) -> None:
    assert "there is no folder" in deploy(tmp_path / "none" / "serve.yaml", "--store", embedded.root).error
