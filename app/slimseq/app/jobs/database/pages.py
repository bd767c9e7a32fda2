"""Pages of a table whose rows are numbered, the newest first."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from slimseq.app.jobs.database.tables import EvaluationRow, ExperimentRow

Row = TypeVar("Row", EvaluationRow, ExperimentRow)


def newest_first(
    session: Session, table: type[Row], before: int | None, limit: int
) -> tuple[Sequence[Row], int | None]:
    """Returns a page, and the `before` of the next one, None at the end.

    Args:
        session: of the transaction.
        table: its rows have a `number`.
        before: only rows with a smaller number.
        limit: maximum number of rows.
    """
    # One more shows whether there is a next page.
    query = select(table).order_by(table.number.desc()).limit(limit + 1)
    rows = session.scalars(query if before is None else query.where(table.number < before)).all()
    return rows[:limit], rows[limit - 1].number if len(rows) > limit else None
