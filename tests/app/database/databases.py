"""Fixtures of databases. A test with `url` or `database` runs twice: on SQLite and on a real PostgreSQL."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimseq.app.database.database import Database, database_url
from tests.postgresql import PostgreSQL


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'slimseq.db'}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_database(f"test-{uuid.uuid4().hex}")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an empty SQLite database, for tests that would show the same on PostgreSQL."""
    return f"sqlite:///{tmp_path / 'slimseq.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    found = Database(database_url(url))
    yield found
    found.close()
