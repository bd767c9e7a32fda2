"""The log of responses that may get feedback: ids, variants and times, no texts.

Responses are answered first and written a moment later, many in one transaction. While the database is down they wait
in memory, up to a limit.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import ExperimentRow, ResponseRow

WRITE_SECONDS = 0.5
MAX_WAITING = 20_000
# Rows of one transaction: the largest number of parameters of a statement in SQLite is 32,766.
ROWS = 2_000
# Responses outside of experiments are deleted after this time.
KEPT = timedelta(days=1)
DELETE_SECONDS = 3600.0
OF_EXPERIMENT = ("experiment", "arm", "unit")

logger = logging.getLogger(__name__)


class ResponseLog:
    """Writes responses to the database. Used from the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._has_rows = asyncio.Event()
        self._flush: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to write."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Writes what waits, if the database is there, and stops."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(DatabaseUnavailable):
            await self.flush()

    def add(self, **row: Any) -> None:
        """Adds a response: columns of `ResponseRow`. The oldest one is given up if too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append({"created_at": datetime.now(UTC), **row})
        self._has_rows.set()

    async def flush(self) -> None:
        """Writes all responses that were added before.

        Raises:
            DatabaseUnavailable: the database failed. What was not written still waits.
        """
        # All callers share one attempt, which goes on until nothing waits: in turns, each would wait for a database
        # that is locked as long as all before it together.
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._write())
            self._flush.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._flush)

    async def _write(self) -> None:
        while self._waiting:
            rows = [self._waiting[index] for index in range(min(ROWS, len(self._waiting)))]
            await self._database.run(lambda session, rows=rows: _insert(session, rows))  # type: ignore[misc]
            written = {row["id"] for row in rows}
            # `add` may have given up the oldest rows meanwhile.
            while self._waiting and self._waiting[0]["id"] in written:
                self._waiting.popleft()
        self._has_rows.clear()
        if self._lost:
            logger.warning("responses were not recorded: they cannot get feedback", extra={"responses": self._lost})
            self._lost = 0

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        delete_at = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_rows.wait(), DELETE_SECONDS)
            await asyncio.sleep(WRITE_SECONDS)
            # The database logs that it is down.
            with contextlib.suppress(DatabaseUnavailable):
                await self.flush()
                if loop.time() >= delete_at:
                    await self._database.run(_delete_old)
                    delete_at = loop.time() + DELETE_SECONDS


def _insert(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows. Those that an earlier attempt wrote without its caller learning of it are left."""
    names = ResponseRow.__table__.columns.keys()
    given = {row["experiment"] for row in rows if row.get("experiment")}
    # A database that was replaced by an older or an empty one may not have them.
    known = set(session.scalars(select(ExperimentRow.id).where(ExperimentRow.id.in_(given)))) if given else set()
    values = [
        {name: None if name in OF_EXPERIMENT and row["experiment"] not in known else row.get(name) for name in names}
        if row.get("experiment")
        else {name: row.get(name) for name in names}
        for row in rows
    ]
    if session.get_bind().dialect.name == "postgresql":
        session.execute(postgresql.insert(ResponseRow).on_conflict_do_nothing(), values)
    else:
        session.execute(sqlite.insert(ResponseRow).on_conflict_do_nothing(), values)


def _delete_old(session: Session) -> None:
    cutoff = datetime.now(UTC) - KEPT
    session.execute(delete(ResponseRow).where(ResponseRow.experiment.is_(None), ResponseRow.created_at < cutoff))
