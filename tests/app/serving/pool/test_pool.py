"""Variants are opened once for all who ask, and closed once with all of their memory."""

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import pytest

from slimseq.app.errors import (
    Conflict,
    GenerationFailed,
    ResourcesExhausted,
    ShuttingDown,
    VariantFailed,
    VariantTooLarge,
)
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.serving.batching.continuous import ContinuousBatching
from slimseq.app.serving.batching.request import Due, QueuedRequest
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.pool.loading import LoadedVariant, Loader, VariantKey
from slimseq.app.serving.pool.pool import GROWTH, Pool
from slimseq.app.serving.selection.catalogue import Catalogue, format_bytes
from slimseq.evaluation.fastest import default_layout
from slimseq.evaluation.host import available_cores, cpu_flags
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.errors import CorruptArtifact, InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Entry, Store
from tests.app.serving.generators import SteppingGenerator
from tests.app.serving.parts import parts_of
from tests.app.serving.working import until
from tests.app.test_failures import Panic
from tests.measured import measured_layout
from tests.service.conftest import needs_torch

pytestmark = pytest.mark.anyio

TRANSLATION = Task.TRANSLATION
# A variant is open on two runtimes, one of which is PyTorch.
RUNTIMES = ("onnxruntime", "torch")


class CountingOpener:
    """Opens artifacts for real, and counts how often each generator is closed.

    Attributes:
        opened: names of the opened variants, in order.
        closed: how often each generator was closed, in the order in which they were opened.
        generators: the generators, in the same order.
        layouts: numbers of workers and threads, in the same order.
        gate: while it is closed, opening waits.
        error: raised in place of opening.
        is_poisoned: whether the engines of generators fail at every step.
    """

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[int] = []
        self.generators: list[weakref.ref[TextGenerator]] = []
        self.layouts: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.is_poisoned = False

    def __call__(
        self, store: Store, task: Task, variant: str, runtime: str | None, threads: int, workers: int
    ) -> TextGenerator:
        self.opened.append(variant)
        self.layouts.append((workers, threads))
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        generator = open_generator(store, task, variant, runtime, threads, workers)
        if self.is_poisoned:
            broken = SteppingGenerator()
            broken.error = Panic("a regular expression of the tokenizer")
            generator.engine = broken.engine  # type: ignore[method-assign]
        number = len(self.closed)
        close = generator.close
        self.closed.append(0)
        self.generators.append(weakref.ref(generator))

        def count_and_close() -> None:
            self.closed[number] += 1
            close()

        generator.close = count_and_close  # type: ignore[method-assign]
        return generator


class LoaderOfKnownSizes(Loader):
    """Reports the size of a variant's files as its memory. The measured memory differs from run to run."""

    def open(self, key: VariantKey) -> LoadedVariant:
        loaded = super().open(key)
        return replace(loaded, resident_bytes=loaded.disk_bytes)


@contextlib.asynccontextmanager
async def with_pool(
    store: Store, opener: CountingOpener, budget: int | None = None, metrics: ServiceMetrics | None = None
) -> AsyncIterator[Pool]:
    metrics = metrics or ServiceMetrics("test")
    loader = LoaderOfKnownSizes(store, metrics, WorkLimits(), opener=opener)
    pool = Pool(loader, metrics, Catalogue(store), budget)
    try:
        yield pool
    finally:
        opener.gate.set()
        await pool.close()


async def opened(pool: Pool, variant: str, runtime: str | None = None) -> LoadedVariant:
    async with pool.lease(TRANSLATION, variant, runtime) as loaded:
        return loaded


def gauge(metrics: ServiceMetrics, name: str, variant: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"task": "translation", "variant": variant})


async def test_many_who_ask_share_one_load(embedded: Store) -> None:
    opener = CountingOpener()

    async with with_pool(embedded, opener) as pool:
        loaded = await asyncio.gather(*(opened(pool, "quantized") for _ in range(5)))

        assert opener.opened == ["quantized"]
        assert all(each is loaded[0] for each in loaded)


async def test_a_loaded_variant_says_its_runtime_its_size_and_how_long_it_took(embedded: Store) -> None:
    async with with_pool(embedded, CountingOpener()) as pool:
        loaded = await opened(pool, "quantized")

        assert loaded.runtime == "onnxruntime"
        assert loaded.load_seconds > 0
        files = (embedded.folder(TRANSLATION, "quantized") / "onnx").iterdir()
        assert loaded.disk_bytes == sum(file.stat().st_size for file in files)


async def test_only_a_loaded_variant_is_found(embedded: Store) -> None:
    async with with_pool(embedded, CountingOpener()) as pool:
        loaded = await opened(pool, "quantized")

        assert pool.find(TRANSLATION, "quantized") is loaded
        assert pool.find(TRANSLATION, "original") is None


async def test_a_load_stalls_neither_the_event_loop_nor_open_variants(embedded: Store) -> None:
    opener = CountingOpener()

    async with with_pool(embedded, opener) as pool:
        await opened(pool, "quantized")
        opener.gate.clear()
        loading = asyncio.create_task(opened(pool, "original"))
        started = time.monotonic()
        await asyncio.sleep(0.05)
        await opened(pool, "quantized")
        seconds = time.monotonic() - started
        is_loading = not loading.done()
        opener.gate.set()
        loaded = await loading

    assert seconds < 1
    assert is_loading
    assert loaded.key.variant == "original"


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (CorruptArtifact("translation/quantized", "onnx/decoder.onnx", "is missing"), CorruptArtifact),
        (ValueError("a wrong number"), InvalidArtifact),
        (Panic("a library in Rust"), InvalidArtifact),
        (MemoryError(), ResourcesExhausted),
        (RuntimeError("can't start new thread"), ResourcesExhausted),
    ],
)
async def test_a_failed_load_is_reported_and_tried_again(
    embedded: Store, error: BaseException, raised: type[Exception]
) -> None:
    opener = CountingOpener()
    opener.error = error

    async with with_pool(embedded, opener) as pool:
        with pytest.raises(raised):
            await opened(pool, "quantized")
        last_error = pool.last_error(TRANSLATION, "quantized")
        loaded_after_error = pool.loaded()
        opener.error = None
        loaded = await opened(pool, "quantized")

        assert isinstance(last_error, raised)
        assert loaded_after_error == []
        assert loaded.key.variant == "quantized"
        assert pool.last_error(TRANSLATION, "quantized") is None


async def test_a_closed_pool_opens_nothing(embedded: Store) -> None:
    async with with_pool(embedded, CountingOpener()) as pool:
        await opened(pool, "quantized")
        await pool.close()

        assert pool.loaded() == []
        with pytest.raises(ShuttingDown):
            await opened(pool, "quantized")


def onnx_bytes(store: Store, task: Task) -> int:
    return format_bytes(store, store.manifest(task, "original"), "onnx")


async def test_the_least_recently_used_variant_is_unloaded_for_another_one(embedded: Store) -> None:
    # The pool expects a variant that it has not loaded before to need `GROWTH` times its files.
    budget = int(onnx_bytes(embedded, TRANSLATION) + onnx_bytes(embedded, Task.SUMMARIZATION) * GROWTH)

    async with with_pool(embedded, CountingOpener(), budget) as pool:
        for variant in ("original", "quantized", "original"):
            await opened(pool, variant, "onnxruntime")

        async with pool.lease(Task.SUMMARIZATION, "original", "onnxruntime"):
            pass

        assert [str(loaded.key) for loaded in pool.loaded()] == ["translation/original", "summarization/original"]
        assert pool.evictions == 1


async def test_a_variant_in_use_is_not_unloaded_and_a_load_that_needs_its_memory_waits(embedded: Store) -> None:
    async def summarizer(pool: Pool) -> None:
        async with pool.lease(Task.SUMMARIZATION, "original", "onnxruntime"):
            pass

    # Memory for one of the two variants.
    budget = int(max(onnx_bytes(embedded, task) for task in Task) * GROWTH)

    async with with_pool(embedded, CountingOpener(), budget) as pool:
        async with pool.lease(TRANSLATION, "original") as held:
            waiting = asyncio.create_task(summarizer(pool))
            await asyncio.sleep(0.3)

            assert not waiting.done()
            assert pool.loaded() == [held]
            with pytest.raises(Conflict, match="in use by 1 request;"):
                await pool.unload(TRANSLATION, "original")

        await waiting
        assert [str(loaded.key) for loaded in pool.loaded()] == ["summarization/original"]


async def test_a_variant_that_exceeds_the_whole_budget_is_refused(embedded: Store) -> None:
    async with with_pool(embedded, CountingOpener(), budget=1_000_000) as pool:
        with pytest.raises(VariantTooLarge, match="translation/original needs about"):
            await opened(pool, "original")


async def ask(pool: Pool) -> str:
    async with pool.lease(TRANSLATION, "quantized") as loaded:
        rows = [loaded.generator.encode("The sun is shining.")]
        options = loaded.generator.manifest.generation.options()
        answer = await loaded.worker.wait(loaded.worker.submit(QueuedRequest(rows, options, Due.within(30))))
        return answer.outputs[0].text


async def test_a_load_without_threads_frees_the_model_and_the_next_load_succeeds(
    embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = CountingOpener()

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with with_pool(embedded, opener) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(ContinuousBatching, "_prepare", no_thread)
            with pytest.raises(ResourcesExhausted, match="threads ran out"):
                await ask(pool)
        gc.collect()
        assert opener.closed == [1]
        assert [generator() for generator in opener.generators] == [None]

        assert await ask(pool) == "Die Sonne scheint."


async def test_a_load_that_cannot_begin_is_tried_again(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_pool(embedded, CountingOpener()) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(Pool, "_free_memory", no_memory)
            with pytest.raises(ResourcesExhausted, match="memory ran out"):
                await ask(pool)

        assert await ask(pool) == "Die Sonne scheint."


async def no_memory(*_: object) -> None:
    raise MemoryError


async def test_a_variant_whose_worker_has_ended_says_so_and_is_opened_anew(embedded: Store) -> None:
    opener = CountingOpener()
    async with with_pool(embedded, opener) as pool:
        async with pool.lease(TRANSLATION, "quantized") as loaded:
            loaded.worker._refuse_all()
            assert pool.degraded() == ["translation/quantized"]
            with pytest.raises(VariantFailed):
                await ask(pool)

        assert pool.loaded() == []
        assert await ask(pool) == "Die Sonne scheint."
        assert opener.opened == ["quantized", "quantized"]
        assert pool.degraded() == []


async def test_a_variant_that_fails_twice_in_a_row_is_opened_anew(embedded: Store) -> None:
    opener = CountingOpener()
    opener.is_poisoned = True

    async with with_pool(embedded, opener) as pool:
        with pytest.raises(GenerationFailed):
            await ask(pool)
        assert pool.degraded() == ["translation/quantized"]
        with pytest.raises(GenerationFailed):
            await ask(pool)
        assert pool.loaded() == []
        opener.is_poisoned = False

        assert await ask(pool) == "Die Sonne scheint."
        assert opener.opened == ["quantized", "quantized"]


async def test_a_variant_is_opened_in_the_layout_that_was_measured_to_be_fastest(own_store: Store) -> None:
    opener = CountingOpener()
    # Three workers with two threads each were measured on a machine like this one.
    tuned = [measured_layout(3, 2, 100, cores=available_cores(), cpu_flags=cpu_flags())]
    manifest = own_store.manifest(TRANSLATION, "quantized")
    own_store.rewrite_manifest(manifest.model_copy(update={"layouts": tuned}))

    parts = parts_of(own_store, workers=0, opener=opener)
    try:
        for variant in ("quantized", "original"):
            await opened(parts.pool, variant)
    finally:
        await parts.pool.close()

    untuned = default_layout(available_cores())
    assert opener.layouts == [(3, 2), (untuned.workers, untuned.threads)]


@needs_torch
async def test_any_number_of_callers_unload_a_variant_of_two_runtimes_and_one_may_leave(embedded: Store) -> None:
    opener = CountingOpener()
    metrics = ServiceMetrics("test")

    async with with_pool(embedded, opener, metrics=metrics) as pool:
        resident_bytes = 0
        for runtime in RUNTIMES:
            # No variable keeps the loaded variant, so that it can be freed.
            resident_bytes += (await opened(pool, "original", runtime)).resident_bytes
        assert gauge(metrics, "slimseq_variant_resident_bytes", "original") == resident_bytes
        assert gauge(metrics, "slimseq_variant_loaded", "original") == 1
        assert gauge(metrics, "slimseq_queue_rows", "original") == 0

        unloading = [asyncio.create_task(pool.unload(TRANSLATION, "original")) for _ in range(4)]
        await until(lambda: pool.loaded() == [])
        unloading.pop(0).cancel()
        await asyncio.gather(*unloading)

        assert pool.loaded() == []
        assert opener.closed == [1, 1]
        assert gauge(metrics, "slimseq_variant_resident_bytes", "original") == 0
        assert gauge(metrics, "slimseq_variant_loaded", "original") == 0
        assert gauge(metrics, "slimseq_queue_rows", "original") == 0
    gc.collect()
    assert [generator() for generator in opener.generators] == [None, None]


async def test_unloads_under_traffic_close_each_copy_once_and_harm_no_request(embedded: Store) -> None:
    opener = CountingOpener()
    is_over = False

    async with with_pool(embedded, opener) as pool:

        async def ask(variant: str) -> None:
            while not is_over:
                async with pool.lease(TRANSLATION, variant, "onnxruntime") as loaded:
                    await asyncio.sleep(0.01)
                    number = [generator() for generator in opener.generators].index(loaded.generator)
                    assert opener.closed[number] == 0
                await asyncio.sleep(0.005)

        async def unload() -> None:
            while not is_over:
                for variant in ("original", "quantized"):
                    with contextlib.suppress(Conflict):
                        await pool.unload(TRANSLATION, variant)
                await asyncio.sleep(0.003)

        working = [asyncio.create_task(ask(name)) for name in ("quantized", "quantized", "original")]
        working += [asyncio.create_task(unload()) for _ in range(4)]
        await asyncio.sleep(2)
        is_over = True
        await asyncio.gather(*working)
        for variant in ("original", "quantized"):
            await pool.unload(TRANSLATION, variant)

        assert pool.loaded() == []
        assert len(opener.closed) > 2
        assert set(opener.closed) == {1}


async def test_a_variant_that_is_opened_for_a_client_that_left_is_unloaded_once_it_is_open(embedded: Store) -> None:
    opener = CountingOpener()
    metrics = ServiceMetrics("test")

    async with with_pool(embedded, opener, metrics=metrics) as pool:
        opener.gate.clear()
        leaving = asyncio.create_task(opened(pool, "quantized"))
        await until(lambda: opener.opened == ["quantized"])
        with pytest.raises(Conflict):
            await pool.unload(TRANSLATION, "quantized")
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        unloading = asyncio.create_task(pool.unload(TRANSLATION, "quantized"))
        await asyncio.sleep(0.05)
        assert not unloading.done()
        opener.gate.set()
        await unloading

        assert pool.loaded() == []
        assert opener.closed == [1]
        assert gauge(metrics, "slimseq_variant_loaded", "quantized") == 0
        assert (await opened(pool, "quantized")).key.variant == "quantized"


async def test_an_unload_ends_after_the_catalogue_has_read_the_store_however_slow_the_store_is(
    own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Store.scan

    def scan_slowly(store: Store, known: Iterable[Entry] = ()) -> list[Entry]:
        entries = scan(store, known)
        time.sleep(0.2)
        return entries

    async with with_pool(own_store, CountingOpener()) as pool:
        await opened(pool, "quantized")
        monkeypatch.setattr(Store, "scan", scan_slowly)
        own_store.remove(TRANSLATION, "quantized")

        await pool.unload(TRANSLATION, "quantized")

        assert "quantized" not in pool.catalogue.names(TRANSLATION)
