"""Adds `evaluations.interruptions`: how often the service died while it ran the evaluation. Existing rows have NULL."""

import sqlalchemy
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("evaluations", sqlalchemy.Column("interruptions", sqlalchemy.Integer(), nullable=True))
