"""Outputs of evaluations have their confidence and warnings."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the columns. Outputs that are there already have neither."""
    op.add_column("evaluation_outputs", sa.Column("confidence", sa.Double(), nullable=True))
    op.add_column("evaluation_outputs", sa.Column("warnings", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Removes the columns."""
    op.drop_column("evaluation_outputs", "warnings")
    op.drop_column("evaluation_outputs", "confidence")
