"""Column types that read the same from SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, LargeBinary, String, TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no time zone, and PostgreSQL answers in that of its settings."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Returns the time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ShortText(TypeDecorator[str]):
    """An id or a name. PostgreSQL's `varchar` rejects the character U+0000, which is replaced: no id has it."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replaces the character."""
        return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class UserText(TypeDecorator[str]):
    """A text of a user or a model, as UTF-8 bytes: PostgreSQL's `text` rejects the character U+0000."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Encodes the text."""
        return None if value is None else value.encode()

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Decodes the text."""
        return None if value is None else bytes(value).decode()
