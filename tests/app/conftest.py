from tests.app.database.databases import database, file, url

__all__ = ["database", "file", "url"]
