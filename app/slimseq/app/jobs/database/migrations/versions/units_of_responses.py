"""Responses know their unit, and those of an arm are found by time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the column, and extends the index of experiments."""
    op.add_column("responses", sa.Column("unit", sa.String(length=64), nullable=True))
    op.create_index("ix_responses_arm", "responses", ["experiment", "arm", "created_at"])
    op.drop_index("ix_responses_experiment", "responses")


def downgrade() -> None:
    """Removes the column and the index."""
    op.create_index("ix_responses_experiment", "responses", ["experiment"])
    op.drop_index("ix_responses_arm", "responses")
    op.drop_column("responses", "unit")
