"""Keeps the traffic of this process in step with the database: which experiments run, what was counted, the key of ids.

All processes on one database split their traffic alike, and read each other's ids. While the database is down, the last
experiments that were read go on, and counts wait in memory.
"""

import asyncio
import contextlib
import logging
from collections import Counter

from slimseq.app.database.database import Database
from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.experiments import rows
from slimseq.app.serving.traffic import Traffic

SYNC_SECONDS = 2.0

logger = logging.getLogger(__name__)


class TrafficSync:
    def __init__(self, database: Database, traffic: Traffic) -> None:
        self._database = database
        self._traffic = traffic
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._invalid: dict[str, str] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._repeat(), name="traffic")

    async def refresh(self) -> None:
        """Reads the running experiments and the key, which is made if there is none."""
        (splits, invalid), key = await self._database.run(
            lambda session: (rows.running(session), rows.signing_key(session)), writes=False
        )
        self._traffic.splits = splits
        for identifier in invalid.keys() - self._invalid.keys():
            logger.error("invalid experiment", extra={"experiment": identifier, "reason": invalid[identifier]})
        self._invalid = invalid
        if key is None:
            await self._database.run(lambda session: rows.propose_key(session, self._traffic.ids.key))
            key = await self._database.run(rows.signing_key, writes=False)
        if key is not None:
            self._traffic.ids.use_key(key)

    async def flush(self) -> None:
        """Writes what was counted since the last time. While the database is down, the counts wait."""
        # Not cancelled: nobody would know whether the database has what is on its way.
        await asyncio.shield(self._write())

    async def close(self) -> None:
        """Stops, and writes what was counted, if the database is there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(DatabaseUnavailable):
            await self.flush()

    async def _repeat(self) -> None:
        while True:
            try:
                await self.refresh()
                await self.flush()
            except DatabaseUnavailable:
                pass  # The database logs that it is down.
            except Exception:
                logger.exception("the experiments of before go on")
            await asyncio.sleep(SYNC_SECONDS)

    async def _write(self) -> None:
        async with self._writing:
            counts, self._traffic.counts = self._traffic.counts, Counter()
            try:
                if counts:
                    await self._database.run(lambda session: rows.add_counts(session, counts))
            except DatabaseUnavailable:
                self._traffic.counts.update(counts)
                raise
