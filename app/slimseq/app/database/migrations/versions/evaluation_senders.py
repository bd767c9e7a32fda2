"""Adds who posted an evaluation: `key_id`, or for a queued evaluation of a client without a key its `network`.

Existing rows have NULL, since nobody knows. With keys, only operators may delete those evaluations.
"""

import sqlalchemy
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("key_id", "network"):
        op.add_column("evaluations", sqlalchemy.Column(name, sqlalchemy.String(64), nullable=True))
