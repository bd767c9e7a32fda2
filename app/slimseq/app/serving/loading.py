"""Opens one variant with its worker, and measures what that costs."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.continuous_batching import ContinuousBatching
from slimseq.app.serving.layout import LayoutChooser
from slimseq.app.serving.request_queue import RequestQueue, WorkLimits
from slimseq.app.serving.static_batching import StaticBatching
from slimseq.evaluation.host import resident_bytes, trim_memory
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

logger = logging.getLogger(__name__)

Opener = Callable[[Store, Task, str, str | None, int, int], TextGenerator]


@dataclass(frozen=True)
class VariantKey:
    """What is opened: an artifact, with a runtime."""

    task: Task
    variant: str
    runtime: str

    def __str__(self) -> str:
        return f"{self.task}/{self.variant}"


@dataclass(frozen=True)
class LoadedVariant:
    """An open artifact with its worker, and what opening it cost."""

    key: VariantKey
    generator: TextGenerator
    worker: RequestQueue
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
        trim_memory()


class Loader:
    """Opens variants. Called on one thread at a time, so that what each adds to the process can be measured."""

    def __init__(
        self,
        store: Store,
        metrics: ServiceMetrics,
        limits: WorkLimits,
        layouts: LayoutChooser | None = None,
        opener: Opener = open_generator,
    ) -> None:
        """Opens nothing yet.

        Args:
            store: where the artifacts are.
            metrics: told of rows that run together.
            limits: for every worker.
            layouts: says how many generations of a variant run at a time; none takes one of them.
            opener: opens an artifact.
        """
        self.store = store
        self._metrics = metrics
        self._limits = limits
        self._layouts = layouts or LayoutChooser(workers=1)
        self._opener = opener

    def open(self, key: VariantKey) -> LoadedVariant:
        """Opens a variant and starts its worker.

        Raises:
            SlimseqError: as `open_generator` does; what else goes wrong becomes `InvalidArtifact`.
        """
        try:
            # Imported first, so that the first variant is not charged with the runtime's library.
            runtime_named(key.runtime).opener()
            # What was freed before would be taken again, and not be seen to be taken.
            trim_memory()
            before = resident_bytes()
            started = time.perf_counter()
            layout = self._layouts.choose(self.store.manifest(key.task, key.variant), key.runtime)
            generator = self._opener(self.store, key.task, key.variant, key.runtime, layout.threads, layout.workers)
            seconds = time.perf_counter() - started
        except SlimseqError:
            raise
        except Exception as error:
            logger.exception("unexpected exception while a variant was opened")
            raise InvalidArtifact(f"{key} cannot be opened: {type(error).__name__}") from error
        disk_bytes = self.disk_bytes(key)
        return LoadedVariant(
            key=key,
            generator=generator,
            worker=self._worker(key, generator, layout.workers),
            # A model is in memory whole: where less was seen to be added, requests freed some meanwhile.
            resident_bytes=max(resident_bytes() - before, disk_bytes),
            disk_bytes=disk_bytes,
            load_seconds=round(seconds, 4),
        )

    def disk_bytes(self, key: VariantKey) -> int:
        """Returns what the format that the runtime reads takes on disk."""
        return format_bytes(self.store, key.task, key.variant, runtime_named(key.runtime).format)

    def _worker(self, key: VariantKey, generator: TextGenerator, workers: int) -> RequestQueue:
        """Starts what suits the runtime: a scheduler where rows may join and leave at any step, else a batcher."""
        kind = StaticBatching if generator.engine() is None else ContinuousBatching
        return kind(
            generator,
            str(key),
            self._limits,
            workers=workers,
            on_rows=self._metrics.rows_counter(key.task, key.variant),
        )


def format_bytes(store: Store, task: Task, variant: str, name: str) -> int:
    """Returns what an artifact's format takes on disk, exported or the artifact's own."""
    export = store.export_of(task, variant, name)
    if export is not None:
        return sum(file.bytes for file in export.files)
    sizes = store.manifest(task, variant).size.bytes_by_format
    # What is built when it is opened is about as large as what it is built from.
    return sizes.get(name) or sizes.get("safetensors", 0)
