"""The variants in memory: opened when first asked for, one load for all who wait, measured, and closed at the end.

Loads run one at a time on a thread of their own, so that what each adds to the process can be measured; variants
that are open already go on serving meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.errors import ShuttingDown
from app.metrics import ServiceMetrics
from app.serving.batcher import Batcher
from app.serving.scheduler import Scheduler
from app.serving.worker import Worker, WorkLimits
from evaluation.host import resident_bytes
from models_store.errors import InvalidArtifact, SlimseqError
from models_store.generator import TextGenerator, choose_runtime, open_generator
from models_store.manifest import Task
from models_store.store import Store

logger = logging.getLogger(__name__)

Opener = Callable[[Store, Task, str, str | None, int], TextGenerator]


@dataclass(frozen=True)
class VariantKey:
    """What is opened: an artifact, with the runtime that was asked for, or None for any."""

    task: Task
    variant: str
    runtime: str | None = None

    def __str__(self) -> str:
        return f"{self.task}/{self.variant}"


@dataclass(frozen=True)
class LoadedVariant:
    """An open artifact with its worker, and what opening it cost."""

    key: VariantKey
    generator: TextGenerator
    worker: Worker
    resident_bytes: int
    disk_bytes: int
    load_seconds: float

    @property
    def runtime(self) -> str:
        """The name of the runtime that opened it."""
        return self.generator.runtime.name

    @property
    def digest(self) -> str:
        """The digest of what was opened, whatever is on disk by now."""
        return self.generator.manifest.digest

    def close(self) -> None:
        """Ends its worker, then gives back its memory."""
        self.worker.close()
        self.generator.close()


class Pool:
    """Opens variants on demand. Used from the event loop alone."""

    def __init__(
        self,
        store: Store,
        metrics: ServiceMetrics,
        limits: WorkLimits,
        runtime: str | None = None,
        threads: int = 0,
        opener: Opener = open_generator,
    ) -> None:
        """Opens nothing yet.

        Args:
            store: where the artifacts are.
            metrics: told of loads and of rows that run together.
            limits: for every worker.
            runtime: the one that must be used, None for the first that can.
            threads: of one generation, 0 lets the runtime choose.
            opener: opens an artifact.
        """
        self._store = store
        self._metrics = metrics
        self._limits = limits
        self._runtime = runtime
        self._threads = threads
        self._opener = opener
        self._loads: dict[VariantKey, asyncio.Task[LoadedVariant]] = {}
        self._errors: dict[VariantKey, SlimseqError] = {}
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._is_closing = False

    async def get(self, task: Task, variant: str) -> LoadedVariant:
        """Returns an open variant, opening it first where needed; a client that leaves does not stop the load.

        Raises:
            UnknownVariant, InvalidArtifact, CorruptArtifact, RuntimeUnavailable: as `open_generator` does. The next
                call tries again.
            ShuttingDown: the pool is closing.
        """
        key = VariantKey(task, variant, self._runtime)
        if key not in self._loads:
            if self._is_closing:
                raise ShuttingDown()
            self._loads[key] = asyncio.create_task(self._load(key), name=f"load {key}")
        return await asyncio.shield(self._loads[key])

    def loaded(self) -> list[LoadedVariant]:
        """Returns what is open, in the order of opening."""
        return [
            load.result()
            for load in self._loads.values()
            if load.done() and not load.cancelled() and load.exception() is None
        ]

    def find(self, task: Task, variant: str) -> LoadedVariant | None:
        """Returns a variant if it is open."""
        return next((each for each in self.loaded() if (each.key.task, each.key.variant) == (task, variant)), None)

    def last_error(self, task: Task, variant: str) -> SlimseqError | None:
        """Returns why the last attempt to open a variant failed, None if it did not."""
        return self._errors.get(VariantKey(task, variant, self._runtime))

    async def close(self) -> None:
        """Waits for a load that runs, then closes everything."""
        self._is_closing = True
        await asyncio.gather(*self._loads.values(), return_exceptions=True)
        for loaded in self.loaded():
            await asyncio.to_thread(loaded.close)
        self._loads.clear()
        self._loader.shutdown()

    async def _load(self, key: VariantKey) -> LoadedVariant:
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(self._loader, self._open, key)
        except SlimseqError as error:
            self._errors[key] = error
            del self._loads[key]
            logger.warning("variant cannot be opened", extra={"artifact": str(key), "reason": str(error)})
            raise
        self._errors.pop(key, None)
        self._metrics.variant_loaded(
            key.task,
            key.variant,
            loaded.resident_bytes,
            loaded.load_seconds,
            lambda: float(loaded.worker.queued_rows),
        )
        logger.info(
            "variant opened",
            extra={
                "artifact": str(key),
                "runtime": loaded.runtime,
                "resident_bytes": loaded.resident_bytes,
                "load_seconds": loaded.load_seconds,
            },
        )
        return loaded

    def _open(self, key: VariantKey) -> LoadedVariant:
        try:
            # Imported first, so that the first variant is not charged with the runtime's library.
            kind = choose_runtime(self._store, key.task, key.variant, key.runtime)
            kind.opener()
            disk_bytes = format_bytes(self._store, key.task, key.variant, kind.format)
            before = resident_bytes()
            started = time.perf_counter()
            generator = self._opener(self._store, key.task, key.variant, key.runtime, self._threads)
            seconds = time.perf_counter() - started
        except SlimseqError:
            raise
        except Exception as error:
            logger.exception("unexpected exception while a variant was opened")
            raise InvalidArtifact(f"{key} cannot be opened: {type(error).__name__}") from error
        return LoadedVariant(
            key=key,
            generator=generator,
            worker=self._worker(key, generator),
            resident_bytes=max(resident_bytes() - before, 0),
            disk_bytes=disk_bytes,
            load_seconds=round(seconds, 4),
        )

    def _worker(self, key: VariantKey, generator: TextGenerator) -> Worker:
        """Starts what suits the runtime: a scheduler where rows may join and leave at any step, else a batcher."""
        kind = Batcher if generator.engine() is None else Scheduler
        return kind(
            generator,
            str(key),
            self._limits,
            on_rows=lambda rows: self._metrics.rows_ran(key.task, key.variant, rows),
        )


def format_bytes(store: Store, task: Task, variant: str, name: str) -> int:
    """Returns what an artifact's format takes on disk, exported or the artifact's own."""
    export = store.export_of(task, variant, name)
    if export is not None:
        return sum(file.bytes for file in export.files)
    return store.manifest(task, variant).size.bytes_by_format.get(name, 0)
