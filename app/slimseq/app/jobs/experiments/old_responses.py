"""Deletes responses that are too old to get feedback, or too many. What experiments have counted stays."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, inspect, select, tuple_
from sqlalchemy.orm import Session

from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.periodic import Periodic
from slimseq.app.jobs.database.tables import Base, ExperimentRow, RatingRow, ResponseRow, VoteRow

# Responses, ratings and votes outside of experiments are deleted after this time.
KEPT = timedelta(days=1)
DELETE_SECONDS = 300.0
# Rows of one transaction, so that others wait for it about 50 ms.
ROWS = 5_000

Condition = ColumnElement[bool]


class OldResponses(Periodic):
    """Deletes now and then. Used from the event loop."""

    def __init__(self, database: Database, days: float, responses: int) -> None:
        """Starts nothing.

        Args:
            database: has the responses.
            days: after which the responses of an experiment are deleted.
            responses: maximum number of responses of an experiment, and of those outside of experiments.
        """
        super().__init__(DELETE_SECONDS)
        self._database = database
        self._kept = timedelta(days=days)
        self._responses = responses

    async def repeat(self) -> None:
        """Deletes, as `delete` does."""
        await self.delete()

    async def delete(self) -> None:
        """Deletes all that is too old or too many.

        Raises:
            DatabaseUnavailable: the database failed. The rest is deleted the next time.
        """
        outside = datetime.now(UTC) - KEPT
        for table in (RatingRow, VoteRow):
            await delete_all(self._database, table, table.experiment.is_(None) & (table.created_at < outside))
        for condition in await self._database.run(self._old, writes=False):
            await delete_all(self._database, ResponseRow, condition)

    def _old(self, session: Session) -> Sequence[Condition]:
        now = datetime.now(UTC)
        found = []
        for experiment in (None, *session.scalars(select(ExperimentRow.id))):
            own = ResponseRow.experiment == experiment
            newest = select(ResponseRow.created_at).where(own).order_by(ResponseRow.created_at.desc())
            # The first one that is too many.
            beyond = session.scalar(newest.offset(self._responses).limit(1))
            cutoff = now - (self._kept if experiment else KEPT)
            old = own & (ResponseRow.created_at <= (max(beyond, cutoff) if beyond else cutoff))
            if session.scalar(select(ResponseRow.id).where(old).limit(1)):
                found.append(old)
        return found


async def delete_all(database: Database, table: type[Base], condition: Condition) -> None:
    """Deletes rows in many small transactions, between which others may write.

    Raises:
        DatabaseUnavailable: the database failed. Some rows may be deleted then.
    """
    keys = inspect(table).primary_key
    piece = delete(table).where(tuple_(*keys).in_(select(*keys).where(condition).limit(ROWS)))

    def delete_piece(session: Session) -> int:
        return cast(CursorResult[Any], session.execute(piece)).rowcount

    while await database.run(delete_piece) == ROWS:
        pass
