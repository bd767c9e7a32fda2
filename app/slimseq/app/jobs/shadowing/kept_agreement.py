"""Keeps live agreement in the database, so that it goes on after a restart: counts and sums, no texts.

Each process adds what it has measured since the last time. The sums of several processes are those of one sequence.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import AgreementRow
from slimseq.app.jobs.database.upserts import add_up
from slimseq.app.jobs.experiments import experiment_rows
from slimseq.app.observability.agreement import AgreementMonitor, AgreementSums, ArmKey, Compared, Key
from slimseq.models_store.manifest import Task

KEEP_SECONDS = 5.0


class KeptAgreement:
    """Reads and writes what an `AgreementMonitor` measures. Used from the event loop."""

    def __init__(self, database: Database, monitor: AgreementMonitor, on_read: Callable[[], None]) -> None:
        """Reads nothing yet.

        Args:
            database: has the sums.
            monitor: has what this process measured.
            on_read: called each time after the monitor has what others measured.
        """
        self._database = database
        self._monitor = monitor
        self._on_read = on_read
        self._is_closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to read and write."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Writes what was measured, if the database is there, and stops."""
        # Not cancelled: nobody would know whether the database has what is on its way.
        self._is_closing.set()
        if self._task is not None:
            await self._task
        if self._monitor.unkept():
            await self._keep_if_available()

    async def keep(self) -> None:
        """Writes what this process measured, and reads what all have.

        Raises:
            DatabaseUnavailable: the database failed. What was not written is written the next time.
        """
        added = self._monitor.unkept()
        stored = await self._database.run(lambda session: _kept(session, added), writes=bool(added))
        self._monitor.keep(added, stored)
        self._on_read()

    async def _run(self) -> None:
        while not self._is_closing.is_set():
            await self._keep_if_available()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_closing.wait(), KEEP_SECONDS)

    async def _keep_if_available(self) -> None:
        # The database logs that it is down.
        with contextlib.suppress(DatabaseUnavailable):
            await self.keep()


def _kept(session: Session, added: Mapping[Key, AgreementSums]) -> dict[Key, AgreementSums]:
    rows = [
        dict(
            zip(
                AgreementRow.__table__.columns.keys(),
                (*key, sums.similarity.count, sums.exact, sums.similarity.total, sums.similarity.variation),
                strict=True,
            )
        )
        for key, sums in sorted(added.items())
        if isinstance(key, Compared)
    ]
    add_up(session, AgreementRow, rows)
    stored: dict[Key, AgreementSums] = {
        Compared(Task(row.task), row.digest, row.reference): AgreementSums.of(
            row.outputs, row.exact, row.total, row.variation
        )
        for row in session.scalars(select(AgreementRow))
    }
    for key, sums in sorted(added.items()):
        if isinstance(key, ArmKey) and (of_arm := experiment_rows.add_agreement(session, *key, sums)) is not None:
            stored[key] = of_arm
    return stored
