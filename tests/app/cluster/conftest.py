"""Tests of the service on Ray, which only `make test-cluster` installs: they start a cluster of two nodes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.app.cluster.nodes import Nodes


@pytest.fixture(scope="session")
def nodes() -> "Iterator[Nodes]":
    """A Ray cluster of two nodes on this machine, which all tests share."""
    # Imported here, because the module imports Ray. pytest loads this file in an environment without Ray too.
    from tests.app.cluster.nodes import two_nodes

    with two_nodes() as running:
        yield running
