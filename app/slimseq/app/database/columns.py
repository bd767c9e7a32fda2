"""The base of all tables, and column types that read the same from SQLite and PostgreSQL.

Each feature has its tables in its `rows` module. A change there needs a migration in `migrations/versions`, for the
databases that are there.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, LargeBinary, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


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


class Base(DeclarativeBase):
    """What all tables share: the types of their columns. Names of tasks, variants and statuses, and ids, are short."""

    type_annotation_map = {  # noqa: RUF012
        str: ShortText(64),
        datetime: UtcTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        list[str]: JSON,
    }


class Numbered(Base):
    """Rows that the database numbers in the order in which they come."""

    __abstract__ = True

    number: Mapped[int] = mapped_column(primary_key=True)
