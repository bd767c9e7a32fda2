"""At most one experiment runs for each task."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the index."""
    op.create_index(
        "ix_experiments_running",
        "experiments",
        ["task"],
        unique=True,
        sqlite_where=sa.text("stopped_at IS NULL"),
        postgresql_where=sa.text("stopped_at IS NULL"),
    )


def downgrade() -> None:
    """Removes the index."""
    op.drop_index("ix_experiments_running", "experiments")
