"""The database of evaluations, experiments and feedback: SQLite in a file by default, PostgreSQL by URL."""
