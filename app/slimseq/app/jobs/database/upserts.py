"""Inserts of rows that may be there already, in the SQL of both databases."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from slimseq.app.jobs.database.tables import Base


def insert_missing(
    session: Session, table: type[Base], rows: Sequence[dict[str, Any]], column: InstrumentedAttribute[str]
) -> set[str]:
    """Inserts the rows that are not there, and returns their values of a column."""
    statement = _insert(session, table).on_conflict_do_nothing().returning(column)
    return set(session.scalars(statement, rows)) if rows else set()


def add_up(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows, and adds their numbers to those of the rows that are there.

    Args:
        session: of the transaction.
        table: all of its columns but those of the primary key are added up.
        rows: each with another primary key. Sort them, so that two transactions do not wait for each other.
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
