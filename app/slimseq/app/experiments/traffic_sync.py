"""Keeps this process in step with the database: which experiments run, promotions, what was counted, the key of ids.

All processes on one database split their traffic alike, have the same defaults, and read each other's ids. While the
database is down, the last experiments and promotions that were read go on, and counts wait in memory.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlalchemy.orm import Session

from slimseq.app.database.database import Database
from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.experiments import rows
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.defaults import Promotion
from slimseq.app.serving.selection.language_pairs import Pair, in_words
from slimseq.app.serving.traffic import Split, Traffic
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.manifest import Task

# Id, task and variants of experiments; splits of experiments that run, and what is wrong with the invalid ones.
WithoutPair = Sequence[tuple[str, Task, Sequence[str]]]
Running = tuple[Mapping[tuple[Task, Pair], Split], Mapping[str, str]]

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
        self._reasons: dict[tuple[Task, Pair], str] = {}
        self._reading, self._writing = asyncio.Lock(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._invalid: Mapping[str, str] = {}

    def start(self, decide: Callable[[str], Awaitable[None]]) -> None:
        """Starts. `decide` is called with each experiment that may end by itself, from time to time."""
        self._task = asyncio.create_task(self._repeat(decide), name="traffic")

    async def refresh(self) -> None:
        """Reads the running experiments, the promotions, and the key, which is made if there is none."""
        # One after the other, so that what was read last is newest.
        async with self._reading:
            without_pair, (splits, invalid), promotions, key = await self._database.run(_read, writes=False)
            pairs = self._pairs_of(without_pair)
            if pairs:
                await self._database.run(lambda session: rows.set_pairs(session, pairs))
                _, (splits, invalid), promotions, key = await self._database.run(_read, writes=False)
            self._traffic.splits, self._chooser.defaults.promotions = splits, promotions
        reasons = {promoted: self._chooser.defaults.reason(*promoted) for promoted in promotions}
        for (task, pair), reason in reasons.items() - self._reasons.items():
            logger.info("default variant", extra={"task": task, "languages": in_words(pair), "reason": reason})
        self._reasons = reasons
        for identifier in invalid.keys() - self._invalid.keys():
            logger.error("invalid experiment", extra={"experiment": identifier, "reason": invalid[identifier]})
        self._invalid = invalid
        if key is None:
            await self._database.run(lambda session: rows.propose_key(session, self._traffic.ids.key))
            key = await self._database.run(rows.signing_key, writes=False)
        if key is not None:
            self._traffic.ids.use_key(key)

    def _pairs_of(self, experiments: WithoutPair) -> dict[str, Pair]:
        """Returns the pairs of experiments of before experiments had a pair, as far as their variants share one."""
        found = {}
        for identifier, task, variants in experiments:
            with contextlib.suppress(UnsupportedLanguages):
                pair = self._chooser.shared_pair(task, variants)
                if pair is not None:
                    found[identifier] = pair
        return found

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


def _read(session: Session) -> tuple[WithoutPair, Running, Mapping[tuple[Task, Pair], Promotion], bytes | None]:
    return rows.without_pair(session), rows.running(session), rows.promotions(session), rows.signing_key(session)
