"""Keeps this process in step with the database, every `SYNC_SECONDS`.

- It reads the running experiments, the promotions, and the key that signs the ids of responses.
- It writes how many responses and errors each arm had since the last time.
- It lets experiments end by themselves.

So all processes on one database split their traffic in the same way, have the same default variants, and read each
other's ids. While the database is down, the experiments and promotions that were read last remain in force, and the
counts wait in memory.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

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

SYNC_SECONDS = 2.0
# Experiments are decided less often than read: a report of 10,000 ratings takes tens of milliseconds.
DECIDE_SECONDS = 10.0

logger = logging.getLogger(__name__)


class _Reading(NamedTuple):
    """What one transaction reads."""

    # Experiments of older versions, whose row has no pair of languages.
    without_pair: Sequence[rows.WithoutPair]
    splits: Mapping[tuple[Task, Pair], Split]
    # What is wrong with invalid experiments, by their id.
    invalid: Mapping[str, str]
    promotions: Mapping[tuple[Task, Pair], Promotion]
    signing_key: bytes | None


class TrafficSync:
    """Sets the splits of `traffic` and the promotions of `chooser` from the database. Used from the event loop."""

    def __init__(self, database: Database, traffic: Traffic, chooser: Chooser) -> None:
        self._database = database
        self._traffic = traffic
        self._chooser = chooser
        # Set once the database was read for the first time, or could not be read.
        self.has_tried = asyncio.Event()
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        # What was logged: the reason of each promoted default, and what is wrong with each invalid experiment.
        self._logged_reasons: dict[tuple[Task, Pair], str] = {}
        self._logged_invalid: Mapping[str, str] = {}

    def start(self, decide: Callable[[str], Awaitable[None]]) -> None:
        """Starts to read and write. Every `DECIDE_SECONDS`, `decide` gets the id of each experiment that may end."""
        self._task = asyncio.create_task(self._repeat(decide), name="traffic")

    async def refresh(self) -> None:
        """Reads the running experiments, the promotions and the signing key, and uses them from now on.

        Experiments without a pair of languages get one first. A database without a signing key gets the key of this
        process.
        """
        # Without the lock, an older reading that ends later would replace a newer one.
        async with self._reading:
            reading = await self._database.run(_read, writes=False)
            pairs = self._find_pairs(reading.without_pair)
            if pairs:
                await self._database.run(lambda session: rows.set_pairs(session, pairs))
                reading = await self._database.run(_read, writes=False)
            self._traffic.splits = reading.splits
            self._chooser.defaults.promotions = reading.promotions
        self._log_changes(reading.promotions, reading.invalid)
        key = reading.signing_key
        if key is None:
            # Several processes may propose a key at once. The database keeps the first one, and all processes read it.
            await self._database.run(lambda session: rows.propose_key(session, self._traffic.ids.key))
            key = await self._database.run(rows.signing_key, writes=False)
        if key is not None:
            self._traffic.ids.use_key(key)

    def _log_changes(self, promotions: Mapping[tuple[Task, Pair], Promotion], invalid: Mapping[str, str]) -> None:
        """Logs what differs from the last reading, so that each default and each invalid experiment is logged once."""
        reasons: dict[tuple[Task, Pair], str] = {}
        for task, pair in promotions:
            reason = self._chooser.defaults.reason(task, pair)
            reasons[task, pair] = reason
            if self._logged_reasons.get((task, pair)) != reason:
                logger.info("default variant", extra={"task": task, "languages": in_words(pair), "reason": reason})
        self._logged_reasons = reasons

        for identifier, reason in invalid.items():
            if identifier not in self._logged_invalid:
                logger.error("invalid experiment", extra={"experiment": identifier, "reason": reason})
        self._logged_invalid = invalid

    def _find_pairs(self, experiments: Sequence[rows.WithoutPair]) -> dict[str, Pair]:
        """Returns the pair of languages that the variants of an experiment share, by the experiment's id.

        An experiment whose variants share no pair is left out.
        """
        pairs = {}
        for experiment in experiments:
            with contextlib.suppress(UnsupportedLanguages):
                pair = self._chooser.shared_pair(experiment.task, experiment.variants)
                if pair is not None:
                    pairs[experiment.id] = pair
        return pairs

    async def flush(self) -> None:
        """Writes what was counted since the last time. While the database is down, the counts wait."""
        # The shield keeps the writing from being cancelled with its caller. Else nobody would know whether the database
        # has the counts.
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
                # The loop must not end: the next reading may succeed.
                logger.exception("experiments could not be read; the last ones stay in force")
            self.has_tried.set()
            await asyncio.sleep(SYNC_SECONDS)

    async def _write(self) -> None:
        async with self._writing:
            counts = self._traffic.counts
            # Responses that arrive during the transaction go into the new counter.
            self._traffic.counts = Counter()
            if not counts:
                return
            try:
                await self._database.run(lambda session: rows.add_counts(session, counts))
            except DatabaseUnavailable:
                self._traffic.counts.update(counts)
                raise


def _read(session: Session) -> _Reading:
    splits, invalid = rows.running(session)
    return _Reading(
        without_pair=rows.without_pair(session),
        splits=splits,
        invalid=invalid,
        promotions=rows.promotions(session),
        signing_key=rows.signing_key(session),
    )
