"""Evaluations know who posted them: a key, or while they are queued the network of a client without one.

Of those that are there it is unknown. With keys, only operators may delete them.
"""

import sqlalchemy
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("key_id", "network"):
        op.add_column("evaluations", sqlalchemy.Column(name, sqlalchemy.String(64), nullable=True))
