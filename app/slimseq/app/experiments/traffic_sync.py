"""Keeps this process in step with the database: which experiments run, promotions, what was counted, the key of ids.

All processes on one database split their traffic alike, have the same defaults, and read each other's ids. While the
database is down, the last experiments and promotions that were read go on, and counts wait in memory.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from slimseq.app.database.database import Database
from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.experiments import rows
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.traffic import Traffic
from slimseq.models_store.manifest import Task

SYNC_SECONDS = 2.0
# A report of 10,000 ratings takes tens of milliseconds.
DECIDE_SECONDS = 10.0

logger = logging.getLogger(__name__)


class TrafficSync:
    def __init__(self, database: Database, traffic: Traffic, chooser: Chooser) -> None:
        self._database = database
        self._traffic = traffic
        self._chooser = chooser
        # Set once the database was read, or could not be.
        self.has_tried = asyncio.Event()
        self._reasons: dict[Task, str] = {}
        self._reading, self._writing = asyncio.Lock(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._invalid: dict[str, str] = {}

    def start(self, decide: Callable[[str], Awaitable[None]]) -> None:
        """Starts. `decide` is called with each experiment that may end by itself, from time to time."""
        self._task = asyncio.create_task(self._repeat(decide), name="traffic")

    async def refresh(self) -> None:
        """Reads the running experiments, the promotions, and the key, which is made if there is none."""
        # One after the other, so that what was read last is newest.
        async with self._reading:
            (splits, invalid), promotions, key = await self._database.run(
                lambda session: (rows.running(session), rows.promotions(session), rows.signing_key(session)),
                writes=False,
            )
            self._traffic.splits, self._chooser.promotions = splits, promotions
        reasons = {task: self._chooser.default_reason(task) for task in promotions}
        for task, reason in reasons.items() - self._reasons.items():
            logger.info("default variant", extra={"task": task, "reason": reason})
        self._reasons = reasons
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

    async def _repeat(self, decide: Callable[[str], Awaitable[None]]) -> None:
        decided_at = float("-inf")
        while True:
            try:
                await self.refresh()
                await self.flush()
                if time.monotonic() > decided_at + DECIDE_SECONDS:
                    decided_at = time.monotonic()
                    for split in list(self._traffic.splits.values()):
                        if split.decides:
                            await decide(split.experiment)
            except DatabaseUnavailable:
                pass  # The database logs that it is down.
            except Exception:
                logger.exception("the experiments of before go on")
            self.has_tried.set()
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
