"""Loads a variant with its request queue, and measures time and memory."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from slimseq.app.errors import InternalError
from slimseq.app.failures import answer_to, panics_as_exceptions
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.continuous import ContinuousBatching
from slimseq.app.serving.batching.request_queue import RequestQueue, WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.app.serving.selection.catalogue import format_bytes
from slimseq.evaluation.fastest import choose_layout
from slimseq.evaluation.host import resident_bytes, trim_memory
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.inference.text.notation import find_notation
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

logger = logging.getLogger(__name__)

Opener = Callable[[Store, Task, str, str | None, int, int], TextGenerator]


class VariantKey(NamedTuple):
    task: Task
    variant: str
    runtime: str

    def __str__(self) -> str:
        return f"{self.task}/{self.variant}"


@dataclass(frozen=True)
class LoadedVariant:
    """A loaded artifact with its request queue, and the measured cost of loading.

    `runtime` is the runtime's name. `digest` is that of the loaded artifact, which the store may have replaced since.
    """

    key: VariantKey
    generator: TextGenerator
    worker: RequestQueue
    runtime: str
    digest: str
    resident_bytes: int
    disk_bytes: int
    load_seconds: float

    def close(self) -> None:
        self.worker.close()
        self.generator.close()
        trim_memory()


@dataclass(eq=False)
class Loader:
    """Loads variants. Called on one thread at a time, so that the memory of each can be measured.

    `workers` is the number of generations of a variant at a time, `threads` the number of threads of each; 0 uses the
    fastest measured layout. `limits` are those of every request queue. `opener` opens the generator of an artifact.
    """

    store: Store
    metrics: ServiceMetrics
    limits: WorkLimits
    workers: int = 1
    threads: int = 0
    opener: Opener = open_generator
    traces: Traces | None = None
    # Memory of the process without variants, with the libraries of runtimes. 0 before the first load.
    base_bytes: int = field(init=False, default=0)
    _imported: set[str] = field(init=False, default_factory=set)

    def open(self, key: VariantKey) -> LoadedVariant:
        """Loads a variant and starts its threads. Raises whatever `opener` and the libraries raise."""
        generator: TextGenerator | None = None
        try:
            with panics_as_exceptions():
                manifest = self.store.manifest(key.task, key.variant)
                # Reads the data of the target language here, not on the event loop.
                find_notation(manifest.languages[-1] if manifest.languages else "")
                # The runtime's library is imported first, so that its memory does not count for the first variant.
                without_library = resident_bytes()
                runtime_named(key.runtime).opener()
                # Otherwise the variant would reuse freed memory, and the measured growth would be too small.
                trim_memory()
                before = resident_bytes()
                self._count_library(key.runtime, without_library, before)
                started = time.perf_counter()
                layout = choose_layout(manifest, key.runtime, self.workers, self.threads)
                generator = self.opener(self.store, key.task, key.variant, key.runtime, layout.threads, layout.workers)
                seconds = time.perf_counter() - started
                disk_bytes = self.disk_bytes(key)
                worker = self._worker(key, generator, layout.workers)
        except Exception:
            if generator is not None:
                generator.close()
            raise
        return LoadedVariant(
            key=key,
            generator=generator,
            worker=worker,
            runtime=generator.runtime.name,
            digest=generator.manifest.digest,
            # The whole model is in memory: if the process grew by less, other requests freed memory meanwhile.
            resident_bytes=max(resident_bytes() - before, disk_bytes),
            disk_bytes=disk_bytes,
            load_seconds=round(seconds, 4),
        )

    def disk_bytes(self, key: VariantKey) -> int:
        manifest = self.store.manifest(key.task, key.variant)
        return format_bytes(self.store, manifest, runtime_named(key.runtime).format)

    def _count_library(self, runtime: str, before: int, after: int) -> None:
        """Adds the memory of a runtime's library to that of the process without variants."""
        if not self._imported:
            self.base_bytes = after
        elif runtime not in self._imported:
            self.base_bytes += max(after - before, 0)
        self._imported.add(runtime)

    def _worker(self, key: VariantKey, generator: TextGenerator, workers: int) -> RequestQueue:
        kind = StaticBatching if generator.engine() is None else ContinuousBatching
        counters = self.metrics.row_counters(key.task, key.variant)
        return kind(generator, str(key), self.limits, workers, *counters, self.traces)


def why_not_loaded(key: VariantKey, error: Exception) -> SlimseqError:
    """Returns what to answer requests for a variant that cannot be loaded. An unexpected exception is logged."""
    what_failed = f"{key} cannot be loaded"
    answer = answer_to(error, what_failed, has_texts_of_clients=False)
    if not isinstance(error, SlimseqError):
        logger.error("unexpected exception while a variant was loaded", exc_info=error)
    if isinstance(answer, InternalError):
        # A library failed on the content of the artifact.
        return InvalidArtifact(f"{what_failed}: {type(error).__name__}")
    return answer
