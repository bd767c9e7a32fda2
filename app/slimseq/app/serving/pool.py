"""The variants in memory: opened when first asked for, leased while they are in use, closed to make room for others.

Loads run one at a time on a thread of their own, one for all who wait; variants that are open already go on serving
meanwhile. What was used longest ago goes first, and nothing goes that is in use.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from slimseq.app.errors import ShuttingDown, VariantInUse, VariantTooLarge
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.loading import LoadedVariant, Loader, VariantKey
from slimseq.app.serving.runtimes import RuntimeChooser
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

logger = logging.getLogger(__name__)

# How much larger than its files an open variant is taken to be until it was measured.
GROWTH = 1.5
# Runs that may break one after the other before a variant is opened anew.
MOST_FAILURES = 2


@dataclass(frozen=True)
class PoolLimits:
    """What may stay in memory.

    Args:
        resident_bytes: the most that variants may take together, as measured when they were opened; None: no limit.
        idle_seconds: after so long without a request a variant is closed; None: never.
    """

    resident_bytes: int | None = None
    idle_seconds: float | None = None


@dataclass(eq=False)
class _Slot:
    """A variant on its way into memory or there. It stays while `leases` is above 0."""

    key: VariantKey
    leases: int = 0
    last_used: float = field(default_factory=time.monotonic)
    load: "asyncio.Task[LoadedVariant]" = field(init=False)

    @property
    def loaded(self) -> LoadedVariant | None:
        """What is open, None while it is being opened and where that failed."""
        is_there = self.load.done() and not self.load.cancelled() and self.load.exception() is None
        return self.load.result() if is_there else None


class Pool:
    """Opens variants on demand. Used from the event loop alone."""

    def __init__(
        self,
        loader: Loader,
        metrics: ServiceMetrics,
        runtimes: RuntimeChooser,
        limits: PoolLimits | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            loader: opens variants.
            metrics: told of what is opened and closed.
            runtimes: says which runtime opens what.
            limits: what may stay in memory.
        """
        self.limits = limits or PoolLimits()
        self.evictions = 0
        self._loader = loader
        self._metrics = metrics
        self._runtimes = runtimes
        self._slots: dict[VariantKey, _Slot] = {}
        self._measured: dict[VariantKey, int] = {}
        self._errors: dict[VariantKey, SlimseqError] = {}
        # Closings that run, and of what: a variant has left its slot by then.
        self._closings: dict[asyncio.Task[None], VariantKey] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._one_load = asyncio.Lock()
        self._released = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._is_closing = False
        self._last_used = time.monotonic()

    @contextlib.asynccontextmanager
    async def lease(self, task: Task, variant: str, runtime: str | None = None) -> AsyncIterator[LoadedVariant]:
        """Holds an open variant, which is opened first where needed; a client that leaves does not stop the load.

        Args:
            task: its task.
            variant: its name.
            runtime: what must open it; None takes what suits this machine best.

        Raises:
            UnknownVariant, InvalidArtifact, CorruptArtifact, RuntimeUnavailable: as `open_generator` does. The next
                call tries again.
            VariantTooLarge: it would not fit into memory alone.
            ShuttingDown: the pool is closing.
        """
        if self._is_closing:
            raise ShuttingDown()
        slot = self._slot(VariantKey(task, variant, self._runtimes.choose(task, variant, runtime)))
        slot.leases += 1
        try:
            yield await asyncio.shield(slot.load)
        finally:
            slot.leases -= 1
            slot.last_used = self._last_used = time.monotonic()
            self._released.set()
            await self._replace_broken(slot)

    def loaded(self) -> list[LoadedVariant]:
        """Returns what is open, in the order of opening."""
        return [loaded for slot in self._slots.values() if (loaded := slot.loaded)]

    def find(self, task: Task, variant: str) -> LoadedVariant | None:
        """Returns a variant if it is open, with whatever runtime."""
        return next((each for each in self.loaded() if (each.key.task, each.key.variant) == (task, variant)), None)

    def idle_seconds(self) -> float:
        """Returns for how long no variant has been leased, 0 while one is."""
        if any(slot.leases for slot in self._slots.values()):
            return 0.0
        return time.monotonic() - self._last_used

    def degraded(self) -> list[str]:
        """Returns the open variants whose last run broke."""
        return list(dict.fromkeys(str(loaded.key) for loaded in self.loaded() if loaded.worker.failures))

    def last_error(self, task: Task, variant: str) -> SlimseqError | None:
        """Returns why a variant cannot serve, None where nothing is known that keeps it from serving."""
        runtime = self._runtimes.find(task, variant)
        return runtime if isinstance(runtime, SlimseqError) else self._errors.get(VariantKey(task, variant, runtime))

    def has_failed(self, task: Task, variant: str) -> bool:
        """Whether the last attempt to open a variant failed, on whatever runtime."""
        return any((key.task, key.variant) == (task, variant) for key in self._errors)

    def can_serve(self, task: Task, variant: str) -> bool:
        """Whether a variant can serve, as far as is known."""
        return self.last_error(task, variant) is None

    async def unload(self, task: Task, variant: str) -> None:
        """Closes a variant on every runtime that it is open on; returns once its memory is back.

        One that is not open stays so. One that is being opened, for a client that has left, is closed once it is open.

        Raises:
            VariantInUse: requests are being answered with it, or wait for it to open.
        """
        slots = [slot for slot in self._slots.values() if (slot.key.task, slot.key.variant) == (task, variant)]
        if leases := sum(slot.leases for slot in slots):
            raise VariantInUse(f"{task}/{variant}", leases)
        for slot in slots:
            self._start_closing(slot, "unload")
        # Those that other callers have started are waited for too.
        closings = [closing for closing, key in self._closings.items() if (key.task, key.variant) == (task, variant)]
        await asyncio.shield(asyncio.gather(*closings))

    async def close(self) -> None:
        """Waits for a load that runs, then closes everything."""
        self._is_closing = True
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*(slot.load for slot in self._slots.values()), return_exceptions=True)
        for slot in list(self._slots.values()):
            self._start_closing(slot, "the service stops")
        await asyncio.gather(*self._closings, return_exceptions=True)
        self._thread.shutdown()

    def _slot(self, key: VariantKey) -> _Slot:
        if key not in self._slots:
            slot = self._slots[key] = _Slot(key)
            slot.load = asyncio.create_task(self._load(slot), name=f"load {key}")
        if self._watch is None and self.limits.idle_seconds is not None:
            self._watch = asyncio.create_task(self._close_idle(self.limits.idle_seconds), name="idle variants")
        return self._slots[key]

    async def _load(self, slot: _Slot) -> LoadedVariant:
        key = slot.key
        try:
            async with self._one_load:
                await self._make_room(key)
                loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self._loader.open, key)
        except SlimseqError as error:
            self._errors[key] = error
            # Another one may be in its place since an operator has unloaded this one.
            if self._slots.get(key) is slot:
                del self._slots[key]
            logger.warning("variant cannot be opened", extra={"artifact": str(key), "reason": str(error)})
            raise
        self._errors.pop(key, None)
        self._measured[key] = loaded.resident_bytes
        self._metrics.variant_loaded(
            key.task,
            key.variant,
            key.runtime,
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

    async def _make_room(self, key: VariantKey) -> None:
        """Closes what was used longest ago until a variant fits; waits where all that is open is in use."""
        budget = self.limits.resident_bytes
        if budget is None:
            return
        needed = self._measured.get(key) or int(self._loader.disk_bytes(key) * GROWTH)
        if needed > budget:
            raise VariantTooLarge(str(key), needed, budget)
        while sum(loaded.resident_bytes for loaded in self.loaded()) + needed > budget:
            idle = [slot for slot in self._slots.values() if slot.loaded and not slot.leases]
            if idle:
                self.evictions += 1
                self._metrics.variant_evicted()
                await self._start_closing(min(idle, key=lambda slot: slot.last_used), "room for another")
            else:
                self._released.clear()
                await self._released.wait()

    def _start_closing(self, slot: _Slot, reason: str) -> "asyncio.Task[None]":
        """Takes a variant out of its slot at once, so that nobody leases or closes it again, and begins to close it."""
        del self._slots[slot.key]
        closing = asyncio.create_task(self._close(slot, reason), name=f"close {slot.key}")
        self._closings[closing] = slot.key
        closing.add_done_callback(self._closings.pop)
        return closing

    async def _close(self, slot: _Slot, reason: str) -> None:
        try:
            loaded = await slot.load
        except SlimseqError:
            return
        self._metrics.variant_closed(slot.key.task, slot.key.variant, slot.key.runtime)
        logger.info("variant closed", extra={"artifact": str(slot.key), "reason": reason})
        await asyncio.get_running_loop().run_in_executor(self._thread, loaded.close)

    async def _replace_broken(self, slot: _Slot) -> None:
        """Closes a variant that broke time and again once nobody uses it: the next request opens it anew."""
        loaded = slot.loaded
        is_there = self._slots.get(slot.key) is slot and not self._is_closing
        if loaded and is_there and not slot.leases and loaded.worker.failures >= MOST_FAILURES:
            await asyncio.shield(self._start_closing(slot, "broken"))

    async def _close_idle(self, idle_seconds: float) -> None:
        while True:
            await asyncio.sleep(min(idle_seconds / 4, 30))
            before = time.monotonic() - idle_seconds
            for slot in list(self._slots.values()):
                if slot.loaded and not slot.leases and slot.last_used < before:
                    self._start_closing(slot, "idle")
