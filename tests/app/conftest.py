"""Makes the fixtures of databases known to all tests of the service's parts."""

from tests.app.database.databases import database, sqlite_url, url

__all__ = ["database", "sqlite_url", "url"]
