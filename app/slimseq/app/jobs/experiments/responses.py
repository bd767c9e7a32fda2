"""The log of responses that may get feedback: ids, variants and times, no texts.

Responses are answered first and written a moment later, many in one transaction. While the database is down they wait
in memory, up to a limit. Those of an experiment are counted when they are written, in
`slimseq.app.jobs.experiments.experiment_rows`, so that `slimseq.app.jobs.experiments.old_responses` may delete them.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import ResponseRow
from slimseq.app.jobs.database.upserts import insert_missing
from slimseq.app.jobs.experiments.experiment_rows import count_responses, existing

WRITE_SECONDS = 0.5
MAX_WAITING = 20_000
# Rows of one transaction.
ROWS = 2_000
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
        while True:
            await self._has_rows.wait()
            await asyncio.sleep(WRITE_SECONDS)
            # The database logs that it is down.
            with contextlib.suppress(DatabaseUnavailable):
                await self.flush()


def _insert(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts and counts rows. Those that an earlier attempt wrote without its caller learning of it are left."""
    names = ResponseRow.__table__.columns.keys()
    known = existing(session, {row["experiment"] for row in rows if row.get("experiment")})
    values = [{name: row.get(name) for name in names} for row in rows]
    for value in values:
        if value["experiment"] not in known:
            value.update(dict.fromkeys(OF_EXPERIMENT))
    written = insert_missing(session, ResponseRow, values, ResponseRow.id)
    count_responses(session, [row for row in values if row["experiment"] and row["id"] in written])
