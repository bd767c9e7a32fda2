"""Evaluations count how often their service died. Those that are there begin at none."""

import sqlalchemy
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("evaluations", sqlalchemy.Column("interruptions", sqlalchemy.Integer(), nullable=True))
