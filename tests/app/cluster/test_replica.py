"""A replica in this process, without a cluster: when it is healthy, and which store it refuses."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from fastapi.testclient import TestClient

from slimseq.app.errors import NotReady, UnusableStore
from slimseq.models_store.errors import UnknownVariant
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from slimseq.app.cluster.replica import Replica, ReplicaOptions, check_digests

NAME = "translation/original"


def options(store: Path, folder: Path) -> ReplicaOptions:
    settings = {"store": str(store), "database_url": f"sqlite:///{folder}/replica.db", "log_level": "warning"}
    return ReplicaOptions(settings=settings)


@pytest.fixture(autouse=True)
def context(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray tells a replica in a cluster."""
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: Mock(replica_tag="tested"))


def test_a_replica_is_healthy_once_its_variants_are_loaded(embedded: Store, tmp_path: Path) -> None:
    replica = Replica(options(embedded.root, tmp_path))

    with TestClient(replica.__serve_build_asgi_app__()) as client:
        assert client.portal is not None
        client.portal.call(replica.check_health)
        answer = client.post("/translate", json={"text": "Good morning."}, headers={"X-Request-ID": "mine"})
        memory = client.get("/memory")

    assert answer.status_code == 200 and "x-request-id" not in answer.headers
    assert memory.json()["replica"] == "tested"


def test_a_replica_that_can_serve_nothing_is_not_healthy(tmp_path: Path) -> None:
    store = put(tmp_path / "store", manifest())
    replica = Replica(options(store, tmp_path))

    with TestClient(replica.__serve_build_asgi_app__()) as client:
        assert client.portal is not None
        with pytest.raises(NotReady, match="original"):
            client.portal.call(replica.check_health)


def test_a_store_with_another_version_of_an_artifact_is_refused(tmp_path: Path) -> None:
    store = Store(put(tmp_path, manifest()))
    digest = store.manifest(Task.TRANSLATION, "original").digest

    check_digests(store, {NAME: digest})
    with pytest.raises(UnusableStore, match=r"translation/original .* has the digest .*write the config again"):
        check_digests(store, {NAME: "sha256:other"})
    with pytest.raises(UnknownVariant):
        check_digests(store, {"translation/gone": digest})
