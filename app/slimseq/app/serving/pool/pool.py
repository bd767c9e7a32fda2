"""The loaded variants: loaded on first use, leased while in use, unloaded to free memory for others.

Loads run one at a time on a thread of their own, while loaded variants keep serving. All requests for a variant share
its load. The least recently used variant is unloaded first, and never one that is in use.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from slimseq.app.errors import Conflict, ShuttingDown, VariantTooLarge
from slimseq.app.failures import forget_frames
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.serving.batching.request import Due
from slimseq.app.serving.pool.loading import LoadedVariant, Loader, VariantKey, why_not_loaded
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

logger = logging.getLogger(__name__)

# Estimated ratio of a variant's memory to its bytes on disk, until its first load has measured the memory.
GROWTH = 1.5


@dataclass(eq=False)
class Slot:
    """A variant that is loading or loaded. It is not unloaded while `leases` is above 0."""

    key: VariantKey
    leases: int = 0
    last_used: float = field(default_factory=time.monotonic)
    load: "asyncio.Task[LoadedVariant]" = field(init=False)

    @property
    def loaded(self) -> LoadedVariant | None:
        """The loaded variant. None while it is loading, or if the load failed."""
        has_succeeded = self.load.done() and not self.load.cancelled() and self.load.exception() is None
        return self.load.result() if has_succeeded else None

    def is_of(self, task: Task, variant: str) -> bool:
        return self.key.task == task and self.key.variant == variant


@dataclass(eq=False)
class Pool:
    """Loads variants on demand. Used from the event loop only.

    `budget_bytes` limits the memory of all variants, as measured when they were loaded.
    """

    loader: Loader
    metrics: ServiceMetrics
    catalogue: Catalogue
    budget_bytes: int | None = None

    def __post_init__(self) -> None:
        self.evictions = 0
        self._slots: dict[VariantKey, Slot] = {}
        # The loaded variant for requests that name no runtime. They use it until it is unloaded, even if the artifact
        # was replaced in the store by one that another runtime would open.
        self._defaults: dict[tuple[Task, str], VariantKey] = {}
        # Bytes in memory at the last load.
        self._measured: dict[VariantKey, int] = {}
        self._errors: dict[VariantKey, SlimseqError] = {}
        # Running unloads. Their variants have no slot any more.
        self._closings: dict[asyncio.Task[None], VariantKey] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        # Starts the thread now. Later the system may have no more threads, and a load would wait forever.
        self._thread.submit(lambda: None)
        self._one_load = asyncio.Lock()
        self._released = asyncio.Event()
        self._is_closing = False
        self._last_used = time.monotonic()

    @contextlib.asynccontextmanager
    async def lease(self, task: Task, variant: str, runtime: str | None = None) -> AsyncIterator[LoadedVariant]:
        """Holds a variant as `acquire` does, and releases it."""
        slot = await self.acquire(task, variant, runtime)
        try:
            yield slot.load.result()
        finally:
            await self.release(slot)

    async def acquire(self, task: Task, variant: str, runtime: str | None = None, due: Due | None = None) -> Slot:
        """Leases a variant, which is loaded first if needed. The caller must `release` it.

        A load goes on if nobody waits for it any more.

        Raises:
            UnknownVariant, InvalidArtifact, CorruptArtifact, RuntimeUnavailable: as `open_generator` does. The next
                call loads it again.
            VariantTooLarge: it needs more than the memory budget.
            ShuttingDown: the pool is closing.
        """
        if self._is_closing:
            raise ShuttingDown()
        slot = self._slot(task, variant, runtime)
        slot.leases += 1
        try:
            if slot.loaded is None:
                async with due.limited() if due else contextlib.nullcontext():
                    await asyncio.shield(slot.load)
        except BaseException:
            await self.release(slot)
            raise
        return slot

    async def release(self, slot: "Slot") -> None:
        """Ends a lease. After the last lease, a broken variant is unloaded, so that the next request loads it again."""
        slot.leases -= 1
        slot.last_used = self._last_used = time.monotonic()
        if slot.leases:
            return
        self._released.set()
        loaded = slot.loaded
        is_closing = self._is_closing or self._slots.get(slot.key) is not slot
        if loaded and not is_closing and loaded.worker.is_broken:
            await asyncio.shield(self._start_closing(slot, "broken"))

    def loaded(self) -> list[LoadedVariant]:
        found = [slot.loaded for slot in self._slots.values()]
        return [each for each in found if each is not None]

    def find(self, task: Task, variant: str) -> LoadedVariant | None:
        """Returns the loaded variant, on any runtime. None if it is not loaded."""
        for slot in self._slots.values():
            loaded = slot.loaded
            if loaded is not None and slot.is_of(task, variant):
                return loaded
        return None

    def idle_seconds(self) -> float:
        """Returns the seconds since the last lease ended, 0 while there is one."""
        if any(slot.leases for slot in self._slots.values()):
            return 0.0
        return time.monotonic() - self._last_used

    def degraded(self) -> list[str]:
        """Returns the variants whose last run failed, or one of whose workers has ended."""
        failing = [loaded for loaded in self.loaded() if loaded.worker.failures or loaded.worker.has_failed]
        return list(dict.fromkeys(str(loaded.key) for loaded in failing))

    def last_error(self, task: Task, variant: str) -> SlimseqError | None:
        """Returns why a variant cannot be loaded, None if no reason is known."""
        runtime = self.catalogue.find_runtime(task, variant)
        if isinstance(runtime, SlimseqError):
            return runtime
        return self._errors.get(VariantKey(task, variant, runtime))

    def has_failed(self, task: Task, variant: str) -> bool:
        """Whether the last attempt to load a variant failed, on any runtime."""
        return any((key.task, key.variant) == (task, variant) for key in self._errors)

    def has_space(self, task: Task, variant: str, runtime: str) -> bool:
        """Whether a copy of a variant, in another process, would fit the memory budget beside what is loaded."""
        if self.budget_bytes is None:
            return True
        needed = self._needed_bytes(VariantKey(task, variant, runtime))
        return self._loaded_bytes() + needed <= self.budget_bytes

    async def unload(self, task: Task, variant: str) -> None:
        """Unloads a variant from all runtimes. Returns once its memory is freed.

        A variant that is not loaded is ignored. A variant that is loading for a client that disconnected is unloaded
        after the load. The next request loads what the store has by then, which may be another artifact.

        Raises:
            Conflict: requests use it, or wait until it is loaded.
        """
        await self.catalogue.refresh()
        slots = [slot for slot in self._slots.values() if slot.is_of(task, variant)]
        leases = sum(slot.leases for slot in slots)
        if leases:
            requests = "1 request" if leases == 1 else f"{leases} requests"
            raise Conflict(f"{task}/{variant} is in use by {requests}; retry later")
        for slot in slots:
            self._start_closing(slot, "unload")
        # This includes unloads that other callers started.
        closings = [closing for closing, key in self._closings.items() if (key.task, key.variant) == (task, variant)]
        await asyncio.shield(asyncio.gather(*closings))

    async def close(self) -> None:
        """Waits for a running load, then unloads everything."""
        self._is_closing = True
        await asyncio.gather(*(slot.load for slot in self._slots.values()), return_exceptions=True)
        for slot in list(self._slots.values()):
            self._start_closing(slot, "shutdown")
        await asyncio.gather(*self._closings, return_exceptions=True)
        self._thread.shutdown()

    def _slot(self, task: Task, variant: str, runtime: str | None) -> Slot:
        """Returns the slot of a variant. Without a slot, it makes one and starts the load."""
        key = self._defaults.get((task, variant)) if runtime is None else None
        if key not in self._slots:
            key = VariantKey(task, variant, self.catalogue.runtime(task, variant, runtime))
            if runtime is None:
                self._defaults[task, variant] = key
        if key not in self._slots:
            slot = self._slots[key] = Slot(key)
            slot.load = asyncio.create_task(self._load(slot), name=f"load {key}")
        return self._slots[key]

    async def _load(self, slot: Slot) -> LoadedVariant:
        key = slot.key
        try:
            async with self._one_load:
                await self._free_memory(key)
                loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self.loader.open, key)
        except Exception as raised:
            error = why_not_loaded(key, raised)
            # The error is kept, but not its frames, whose variables hold a half-loaded model.
            forget_frames(raised)
            self._errors[key] = error
            self.metrics.load_failed.labels(key.task, key.variant).set(1)
            # An operator may have unloaded this slot meanwhile, and another load may have taken its place.
            if self._slots.get(key) is slot:
                del self._slots[key]
            logger.warning("variant cannot be loaded", extra={"artifact": str(key), "reason": str(error)})
            raise error from None
        self._errors.pop(key, None)
        self._measured[key] = loaded.resident_bytes
        self.metrics.variant_loaded(
            key.task,
            key.variant,
            key.runtime,
            loaded.resident_bytes,
            loaded.load_seconds,
            lambda: float(loaded.worker.queued_rows),
        )
        measured = {"resident_bytes": loaded.resident_bytes, "load_seconds": loaded.load_seconds}
        logger.info("variant loaded", extra={"artifact": str(key), "runtime": loaded.runtime, **measured})
        return loaded

    async def _free_memory(self, key: VariantKey) -> None:
        """Unloads the least recently used variants until another fits. Waits if all are in use."""
        budget = self.budget_bytes
        if budget is None:
            return
        needed = self._needed_bytes(key)
        if needed > budget:
            raise VariantTooLarge(str(key), needed, budget)
        while self._loaded_bytes() + needed > budget:
            idle = [slot for slot in self._slots.values() if slot.loaded and not slot.leases]
            if idle:
                self.evictions += 1
                self.metrics.evictions.inc()
                await self._start_closing(min(idle, key=lambda slot: slot.last_used), "memory for another")
            else:
                self._released.clear()
                await self._released.wait()

    def _loaded_bytes(self) -> int:
        return sum(loaded.resident_bytes for loaded in self.loaded())

    def _needed_bytes(self, key: VariantKey) -> int:
        return self._measured.get(key) or int(self.loader.disk_bytes(key) * GROWTH)

    def _start_closing(self, slot: Slot, reason: str) -> "asyncio.Task[None]":
        """Removes a variant from its slot, so that it is not leased or unloaded again, and starts to unload it."""
        del self._slots[slot.key]
        name = (slot.key.task, slot.key.variant)
        if self._defaults.get(name) == slot.key:
            del self._defaults[name]
        closing = asyncio.create_task(self._close(slot, reason), name=f"close {slot.key}")
        self._closings[closing] = slot.key
        closing.add_done_callback(self._closings.pop)
        return closing

    async def _close(self, slot: Slot, reason: str) -> None:
        """Waits for the load of a variant, and frees its memory. `reason` is for the log."""
        try:
            loaded = await slot.load
        except SlimseqError:
            return
        self.metrics.variant_closed(slot.key.task, slot.key.variant, slot.key.runtime)
        logger.info("variant unloaded", extra={"artifact": str(slot.key), "reason": reason})
        await asyncio.get_running_loop().run_in_executor(self._thread, loaded.close)
