"""The base of all tables, column types that read the same from SQLite and PostgreSQL, and queries of several features.

Each feature has its tables in its `rows` module. A change there needs a migration in `migrations/versions`, for the
databases that are there.
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
    """What all tables share: the types of their columns. Names of tasks, variants and statuses, and ids, are short."""

    type_annotation_map = {  # noqa: RUF012
        str: ShortText(64),
        datetime: UtcTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        list[str]: JSON,
    }


class Numbered(Table):
    """Rows that the database numbers in the order in which they come."""

    __abstract__ = True

    number: Mapped[int] = mapped_column(primary_key=True)


Row = TypeVar("Row", bound=Numbered)


def newest_first(
    session: Session, table: type[Row], before: int | None, limit: int
) -> tuple[Sequence[Row], int | None]:
    """Returns a page of rows, the newest first, and the `before` of the next one, None at the end.

    `before` selects only rows with a smaller number.
    """
    # One more shows whether there is a next page.
    query = select(table).order_by(table.number.desc()).limit(limit + 1)
    rows = session.scalars(query if before is None else query.where(table.number < before)).all()
    return rows[:limit], rows[limit - 1].number if len(rows) > limit else None


def insert_into(session: Session, table: type[Table]) -> sqlite.Insert | postgresql.Insert:
    """Returns an insert that can say what happens to rows that are there."""
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    return postgresql.insert(table) if is_postgresql else sqlite.insert(table)
