"""The base of all tables, column types that SQLite and PostgreSQL read back alike, and queries that features share.

Each feature has its tables in its `rows` module. A change of a table needs a migration in `migrations/versions` as
well, for the databases that exist already.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import JSON, DateTime, Dialect, LargeBinary, String, TypeDecorator, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no time zone, and PostgreSQL answers in that of its settings."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class UserText(TypeDecorator[str]):
    """A text of a user or a model, as UTF-8 bytes: PostgreSQL's `text` rejects the character U+0000."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode()

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else bytes(value).decode()


class ShortText(TypeDecorator[str]):
    """An id or a name. PostgreSQL's `varchar` rejects the character U+0000, which is replaced: no id has it."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class Table(DeclarativeBase):
    """What all tables share: the types of their columns.

    A column of type `str` has at most 64 characters: ids, and names of tasks, variants and statuses are short.
    """

    type_annotation_map = {  # noqa: RUF012
        str: ShortText(64),
        datetime: UtcTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        list[str]: JSON,
    }


class Numbered(Table):
    """Rows that the database numbers in the order of their insertion."""

    __abstract__ = True

    number: Mapped[int] = mapped_column(primary_key=True)


Row = TypeVar("Row", bound=Numbered)


def newest_first(
    session: Session, table: type[Row], before: int | None, limit: int
) -> tuple[Sequence[Row], int | None]:
    """Returns a page of rows, the newest first, and the `before` of the next one, None at the end.

    `before` selects only rows with a smaller number.
    """
    # One row more than the page shows whether there is a next page.
    query = select(table).order_by(table.number.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(table.number < before)
    rows = session.scalars(query).all()
    before_of_next = rows[limit - 1].number if len(rows) > limit else None
    return rows[:limit], before_of_next


def insert_into(session: Session, table: type[Table]) -> sqlite.Insert | postgresql.Insert:
    """Returns an INSERT of the database's own dialect, which has `ON CONFLICT` for rows that exist already."""
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    return postgresql.insert(table) if is_postgresql else sqlite.insert(table)
