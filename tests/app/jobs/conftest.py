from tests.app.jobs.database.databases import database, url

__all__ = ["database", "url"]
