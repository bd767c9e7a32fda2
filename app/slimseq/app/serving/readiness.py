"""Opens the chosen variants at the start, and says when and whether the service can serve.

Where a task's default cannot be opened, the next best is, and takes its place. The preferred ones are tried again from
time to time, so that they serve once they are mended.
"""

import asyncio
import logging
from collections.abc import Sequence

from slimseq.app.errors import NotReady
from slimseq.app.serving.catalogue import Catalogue
from slimseq.app.serving.pool import Pool
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

logger = logging.getLogger(__name__)

# How often defaults that could not be opened are tried again.
RETRY_SECONDS = 60.0


class Readiness:
    """The start's loads. A variant that cannot be opened does not keep the others from serving."""

    def __init__(
        self,
        catalogue: Catalogue,
        pool: Pool,
        preload: Sequence[tuple[Task, str]] = (),
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._catalogue = catalogue
        self._retry_seconds = retry_seconds
        self._pool = pool
        self._preload = preload
        self._waiting: list[tuple[Task, str]] = list(preload) or self._defaults()

    async def preload(self) -> None:
        """Opens the variants that were chosen, or each task's default, one after the other."""
        while self._waiting:
            task, variant = self._waiting[0]
            if not await self._opens(task, variant) and not self._preload:
                # Another variant is the default by now, unless none can serve.
                name = self._catalogue.find_default(task)
                if name is not None and self._pool.can_serve(task, name):
                    self._waiting.append((task, name))
            self._waiting.pop(0)

    async def keep_trying(self) -> None:
        """Opens the variants that were to be defaults and could not be opened, once they can be."""
        while True:
            await asyncio.sleep(self._retry_seconds)
            for task in Task:
                default = self._catalogue.find_default(task)
                for variant in self._catalogue.preferred(task)[:1]:
                    if variant != default and self._pool.has_failed(task, variant):
                        await self._retry(task, variant)

    def start(self) -> "asyncio.Task[None]":
        """Begins to preload beside the service."""
        return asyncio.create_task(self._run(), name="preload")

    async def _run(self) -> None:
        await self.preload()
        await self.keep_trying()

    async def _opens(self, task: Task, variant: str) -> bool:
        try:
            async with self._pool.lease(task, variant):
                return True
        except SlimseqError as error:
            logger.error("preload failed", extra={"artifact": f"{task}/{variant}", "reason": str(error)})
            return False

    async def _retry(self, task: Task, variant: str) -> None:
        try:
            # Before it is opened, for which others may be closed.
            await asyncio.to_thread(self._catalogue.store.verify, task, variant)
        except SlimseqError:
            return
        await self._opens(task, variant)

    def check(self) -> list[str]:
        """Checks that requests can be served; returns the variants whose last run broke.

        Raises:
            NotReady: variants are still being opened, or no task has a variant that can serve.
        """
        if self._waiting:
            raise NotReady(f"opening {', '.join(f'{task}/{variant}' for task, variant in self._waiting)}")
        defaults = self._defaults()
        errors = [error for task, variant in defaults if (error := self._pool.last_error(task, variant))]
        if len(errors) == len(defaults):
            raise NotReady("; ".join(map(str, errors)) or "the store holds no variant")
        return self._pool.degraded()

    def _defaults(self) -> list[tuple[Task, str]]:
        return [(task, name) for task in Task if (name := self._catalogue.find_default(task))]
