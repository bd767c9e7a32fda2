"""Preloads variants at the start, and decides whether the service is ready.

If the default variant of a pair of languages cannot be loaded, the next best of the pair takes its place. The preferred
one is tried again from time to time, so that it serves once it is repaired. While no variant of a pair can be loaded,
all that failed are tried: a service that is not ready gets no requests, which would load them.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence

from slimseq.app.errors import NotReady, ShuttingDown
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.language_pairs import Pair
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

logger = logging.getLogger(__name__)

# Interval at which defaults that could not be loaded are tried again.
RETRY_SECONDS = 60.0


class Readiness:
    """Preloads, and says whether the service is ready. A variant that cannot be loaded does not stop the others."""

    def __init__(self, chooser: Chooser, pool: Pool, preload: Sequence[tuple[Task, str]] = ()) -> None:
        self._chooser = chooser
        self._pool = pool
        self._preload = preload
        self._is_stopping = False
        self._waiting: list[tuple[Task, str]] = list(preload) or self._defaults()

    def stop(self) -> None:
        """Makes the service not ready, because it stops. Called by a signal handler."""
        self._is_stopping = True

    async def preload(self) -> None:
        """Loads the variants of the setting, or the default of each task, one after the other."""
        while self._waiting:
            task, variant = self._waiting[0]
            if not await self._loads(task, variant) and not self._preload:
                # The failure is recorded by now, so that another variant is the default, if one can be loaded.
                name = self._chooser.find_default(task)
                if name is not None and self._pool.last_error(task, name) is None:
                    self._waiting.append((task, name))
            self._waiting.pop(0)

    async def keep_trying(self) -> None:
        """Loads preferred defaults that could not be loaded, once they can be."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            for task, pair in self._pairs():
                preferred = self._chooser.defaults.preferred(task, pair)
                default = self._chooser.defaults.find(task, pair)
                if default is not None and self._pool.last_error(task, default) is None:
                    # The pair is served. Only the preferred variant is worth a try.
                    tried = [variant for variant in preferred[:1] if variant != default]
                else:
                    tried = preferred
                for variant in tried:
                    if self._pool.has_failed(task, variant) and await self._retry(task, variant):
                        break

    def start(self, first: Coroutine[None, None, object] | None = None) -> "asyncio.Task[None]":
        """Starts the preloading, after `first`, which may change the defaults (such as promotions of the database)."""

        async def run() -> None:
            if first is not None:
                await first
                self._waiting = list(self._preload) or self._defaults()
            await self.preload()
            await self.keep_trying()

        return asyncio.create_task(run(), name="preload")

    async def _loads(self, task: Task, variant: str) -> bool:
        try:
            async with self._pool.lease(task, variant):
                return True
        except SlimseqError as error:
            logger.error("preload failed", extra={"artifact": f"{task}/{variant}", "reason": str(error)})
            return False

    async def _retry(self, task: Task, variant: str) -> bool:
        """Loads a variant if its files are right. Returns whether it is loaded."""
        try:
            # The files are verified first, since a load may unload other variants.
            await asyncio.to_thread(self._chooser.catalogue.store.verify, task, variant)
        except SlimseqError:
            return False
        return await self._loads(task, variant)

    @property
    def is_loading(self) -> bool:
        """Whether variants that are loaded at the start are not loaded yet."""
        return bool(self._waiting)

    def check(self) -> list[str]:
        """Checks that requests can be served. Returns the variants whose last run failed.

        Raises:
            ShuttingDown: the service stops.
            NotReady: variants are still loading, or no pair of any task has a variant that can be loaded.
        """
        if self._is_stopping:
            raise ShuttingDown
        if self.is_loading:
            raise NotReady(f"loading {', '.join(f'{task}/{variant}' for task, variant in self._waiting)}")
        found = [(task, self._chooser.defaults.find(task, pair)) for task, pair in self._pairs()]
        defaults = [(task, name) for task, name in found if name is not None]
        possible_errors = [self._pool.last_error(task, variant) for task, variant in defaults]
        errors = [error for error in possible_errors if error is not None]
        can_none_be_loaded = len(errors) == len(defaults)
        if can_none_be_loaded:
            raise NotReady("; ".join(map(str, errors)) or "the store holds no variant")
        return self._pool.degraded()

    def _pairs(self) -> list[tuple[Task, Pair | None]]:
        """Returns the pairs of the variants. None stands for variants that cannot be read."""
        found: list[tuple[Task, Pair | None]] = []
        for task in Task:
            pairs = self._chooser.defaults.pairs(task)
            found += [(task, pair) for pair in pairs] or [(task, None)]
        return found

    def _defaults(self) -> list[tuple[Task, str]]:
        found = [(task, self._chooser.find_default(task)) for task in Task]
        return [(task, name) for task, name in found if name is not None]
