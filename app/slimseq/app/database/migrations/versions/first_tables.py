"""The first version. An empty database gets all tables at once; later versions change the tables that are there."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    pass
