"""Queries that several features need, in the SQL of both databases."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from slimseq.app.database.columns import Base, Numbered

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


def insert_missing(session: Session, table: type[Base], row: dict[str, Any]) -> None:
    """Inserts a row, unless there is one with its primary key."""
    session.execute(_insert(session, table).values(row).on_conflict_do_nothing())


def add_up(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows, and adds their numbers, all but the primary key, to those of the rows that are there.

    Each row has another primary key. Sort them, so that two transactions do not wait for each other.
    """
    columns = table.__table__.columns
    statement = _insert(session, table)
    sums = {each.name: each + statement.excluded[each.name] for each in columns if not each.primary_key}
    keys = [each.name for each in columns if each.primary_key]
    if rows:
        session.execute(statement.on_conflict_do_update(index_elements=keys, set_=sums), rows)


def _insert(session: Session, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    return postgresql.insert(table) if is_postgresql else sqlite.insert(table)
