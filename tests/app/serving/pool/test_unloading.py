"""A variant is closed once, whoever asks for it and however often, and all of its memory comes back."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from slimseq.app.errors import VariantInUse
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.pool.loading import LoadedVariant, Loader
from slimseq.app.serving.pool.pool import Pool, PoolLimits
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.inference.generator import TextGenerator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.pool.test_pool import CountingOpener
from tests.app.serving.working import until
from tests.service.conftest import needs_torch

# A variant is open on two runtimes, one of which is PyTorch.
pytestmark = [pytest.mark.anyio, needs_torch]

TRANSLATION = Task.TRANSLATION
RUNTIMES = ("onnxruntime", "torch")


class ClosingOpener(CountingOpener):
    """Opens artifacts, and counts how often each that it opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[int] = []
        self.generators: list[weakref.ref[TextGenerator]] = []

    def __call__(
        self, store: Store, task: Task, variant: str, runtime: str | None, threads: int, workers: int
    ) -> TextGenerator:
        generator = super().__call__(store, task, variant, runtime, threads, workers)
        number, close = len(self.closed), generator.close
        self.closed.append(0)
        self.generators.append(weakref.ref(generator))

        def counted() -> None:
            self.closed[number] += 1
            close()

        generator.close = counted  # type: ignore[method-assign]
        return generator


class Scene:
    """A pool with its metrics and what opens its variants."""

    def __init__(self, store: Store, limits: PoolLimits | None = None) -> None:
        self.metrics = ServiceMetrics("test")
        self.opener = ClosingOpener()
        loader = Loader(store, self.metrics, WorkLimits(), opener=self.opener)
        self.pool = Pool(loader, self.metrics, Catalogue(store), limits)

    async def opened(self, variant: str, runtime: str | None = None) -> LoadedVariant:
        async with self.pool.lease(TRANSLATION, variant, runtime) as loaded:
            return loaded

    def gauge(self, name: str, variant: str) -> float | None:
        for family in text_string_to_metric_families(self.metrics.render().decode()):
            for sample in family.samples:
                if sample.name == name and sample.labels == {"task": "translation", "variant": variant}:
                    return sample.value
        return None


@contextlib.asynccontextmanager
async def play(scene: Scene) -> AsyncIterator[None]:
    try:
        yield
    finally:
        scene.opener.gate.set()
        await scene.pool.close()


@pytest.mark.parametrize("callers", [1, 4])
async def test_any_number_of_callers_unload_a_variant_that_is_open_on_two_runtimes(
    embedded: Store, callers: int
) -> None:
    scene = Scene(embedded)

    async with play(scene):
        # Nothing here holds what was opened.
        taken = sum([(await scene.opened("original", runtime)).resident_bytes for runtime in RUNTIMES])
        assert scene.gauge("slimseq_variant_resident_bytes", "original") == taken
        assert scene.gauge("slimseq_variant_loaded", "original") == 1
        assert scene.gauge("slimseq_queue_rows", "original") == 0

        await asyncio.gather(*(scene.pool.unload(TRANSLATION, "original") for _ in range(callers)))

        assert scene.pool.loaded() == [] and scene.opener.closed == [1, 1]
        assert scene.gauge("slimseq_variant_resident_bytes", "original") == 0
        assert scene.gauge("slimseq_variant_loaded", "original") == 0
        assert scene.gauge("slimseq_queue_rows", "original") is None
    gc.collect()
    assert [generator() for generator in scene.opener.generators] == [None, None]


async def test_an_eviction_of_one_runtime_leaves_the_gauges_of_the_other(embedded: Store) -> None:
    scene = Scene(embedded, PoolLimits(idle_seconds=0.2))

    async with play(scene), scene.pool.lease(TRANSLATION, "original", "torch") as held:
        await scene.opened("original", "onnxruntime")
        await until(lambda: scene.opener.closed == [0, 1])

        assert scene.pool.loaded() == [held]
        assert scene.gauge("slimseq_variant_loaded", "original") == 1
        assert scene.gauge("slimseq_variant_resident_bytes", "original") == held.resident_bytes
        assert scene.gauge("slimseq_queue_rows", "original") == 0


async def test_a_variant_that_is_opened_for_a_client_that_left_is_unloaded_once_it_is_open(embedded: Store) -> None:
    scene = Scene(embedded)

    async with play(scene):
        scene.opener.gate.clear()
        leaving = asyncio.create_task(scene.opened("quantized"))
        await until(lambda: scene.opener.opened == ["quantized"])
        with pytest.raises(VariantInUse):
            await scene.pool.unload(TRANSLATION, "quantized")
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        unloading = asyncio.create_task(scene.pool.unload(TRANSLATION, "quantized"))
        await asyncio.sleep(0.05)
        assert not unloading.done()
        scene.opener.gate.set()
        await unloading

        assert scene.pool.loaded() == [] and scene.opener.closed == [1]
        assert scene.gauge("slimseq_variant_loaded", "quantized") == 0
        assert (await scene.opened("quantized")).key.variant == "quantized"


async def test_a_caller_that_leaves_does_not_stop_an_unload(embedded: Store) -> None:
    scene = Scene(embedded)

    async with play(scene):
        for runtime in RUNTIMES:
            await scene.opened("original", runtime)
        leaving = asyncio.create_task(scene.pool.unload(TRANSLATION, "original"))
        await asyncio.sleep(0)
        leaving.cancel()

        await until(lambda: scene.opener.closed == [1, 1])
