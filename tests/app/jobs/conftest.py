from tests.app.jobs.database.databases import database, file, url

__all__ = ["database", "file", "url"]
