"""Tests of the service on Ray, which only `make test-cluster` installs: they start a cluster of two nodes."""

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.app.cluster.nodes import Nodes

collect_ignore = [] if importlib.util.find_spec("ray") else ["nodes.py"]


@pytest.fixture(scope="session")
def nodes() -> "Iterator[Nodes]":
    """A Ray cluster of two nodes on this machine, which all tests share."""
    from tests.app.cluster.nodes import two_nodes

    with two_nodes() as running:
        yield running
