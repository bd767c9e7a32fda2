"""The first version of the tables. It changes nothing: an empty database gets all tables of the code at once.

Later versions change the tables of existing databases.
"""

revision = "0001"
down_revision = None


def upgrade() -> None:
    pass
