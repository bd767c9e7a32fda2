"""Tests of the service on Ray, which only `make test-cluster` installs: they start a cluster of two nodes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from tests.app.cluster.nodes import Nodes


@pytest.fixture(scope="package")
def nodes() -> "Iterator[Nodes]":
    """A Ray cluster of two nodes on this machine, which all tests of this folder share.

    It ends after them: a process is connected to one cluster at a time, and tests elsewhere start their own.
    """
    # Imported here, because the module imports Ray. pytest loads this file in an environment without Ray too.
    from tests.app.cluster.nodes import two_nodes

    with two_nodes() as running:
        yield running


@pytest.fixture(scope="package")
def small_store(embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants of the embedded translator."""
    root = tmp_path_factory.mktemp("cluster") / "store"
    for variant in ("quantized", "compact"):
        folder = embedded.folder(Task.TRANSLATION, variant)
        shutil.copytree(folder, Store(root).folder(Task.TRANSLATION, variant))
    return root


@pytest.fixture(scope="package")
def deployed(nodes: "Nodes", small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> "Nodes":
    """Two replicas of the small store, one on each node."""
    from tests.app.cluster.nodes import TWO_REPLICAS, config_of

    nodes.deploy_anew(config_of(tmp_path_factory.mktemp("config"), nodes.port, small_store, *TWO_REPLICAS), replicas=2)
    return nodes
