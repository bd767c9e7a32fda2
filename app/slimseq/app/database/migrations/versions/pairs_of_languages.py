"""Experiments are about one pair of languages, of which each may have one; evaluations know the pair of their data.

The rows that are there do not say their pair. `slimseq.app.experiments.traffic_sync` adds it to those that need it.
"""

import sqlalchemy
from alembic import op

revision = "0002"
down_revision = "0001"

RUNNING = sqlalchemy.text("stopped_at IS NULL")


def upgrade() -> None:
    op.add_column("experiments", sqlalchemy.Column("pair", sqlalchemy.String(200), nullable=True))
    op.drop_index("ix_experiments_running", "experiments")
    op.create_index(
        "ix_experiments_running",
        "experiments",
        ["task", "pair"],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    op.add_column("evaluations", sqlalchemy.Column("languages", sqlalchemy.JSON, nullable=True))
