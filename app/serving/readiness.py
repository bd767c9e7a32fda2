"""Opens the chosen variants at the start, and says when and whether the service can serve."""

import asyncio
import logging
from collections.abc import Sequence

from app.errors import NotReady
from app.serving.catalogue import Catalogue
from app.serving.pool import Pool
from models_store.errors import SlimseqError
from models_store.manifest import Task

logger = logging.getLogger(__name__)


class Readiness:
    """The start's loads. A variant that cannot be opened does not keep the others from serving."""

    def __init__(self, catalogue: Catalogue, pool: Pool, preload: Sequence[tuple[Task, str]] = ()) -> None:
        self._catalogue = catalogue
        self._pool = pool
        self._preload = preload
        self._waiting: list[tuple[Task, str]] = list(preload) or self._defaults()

    async def preload(self) -> None:
        """Opens the variants that were chosen, or each task's default, one after the other."""
        while self._waiting:
            task, variant = self._waiting[0]
            try:
                async with self._pool.lease(task, variant):
                    pass
            except SlimseqError as error:
                logger.error("preload failed", extra={"artifact": f"{task}/{variant}", "reason": str(error)})
            self._waiting.pop(0)

    def start(self) -> "asyncio.Task[None]":
        """Begins to preload beside the service."""
        return asyncio.create_task(self.preload(), name="preload")

    def check(self) -> list[str]:
        """Checks that requests can be served; returns the variants whose last run broke.

        Raises:
            NotReady: variants are still being opened, or no task has a default that opens.
        """
        if self._waiting:
            raise NotReady(f"opening {', '.join(f'{task}/{variant}' for task, variant in self._waiting)}")
        defaults = self._defaults()
        errors = [error for task, variant in defaults if (error := self._error(task, variant))]
        if len(errors) == len(defaults):
            raise NotReady("; ".join(map(str, errors)) or "the store holds no variant")
        return self._pool.degraded()

    def _defaults(self) -> list[tuple[Task, str]]:
        return [(task, name) for task in Task if (name := self._catalogue.find_default(task))]

    def _error(self, task: Task, variant: str) -> SlimseqError | None:
        try:
            self._catalogue.manifest(task, variant)
        except SlimseqError as error:
            return error
        return self._pool.last_error(task, variant)
