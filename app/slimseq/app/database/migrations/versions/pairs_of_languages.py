"""Adds the pair of languages of experiments (`pair`), and the languages of the data of evaluations (`languages`).

From now on one experiment may run for each pair of a task, and no longer one for each task. Existing rows have no pair:
`slimseq.app.experiments.traffic_sync` adds it to those that need one.
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
