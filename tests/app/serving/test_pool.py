import asyncio
import threading
import time
from collections.abc import Callable, Coroutine

import pytest

from app.errors import ShuttingDown
from app.metrics import ServiceMetrics
from app.serving.pool import Pool
from app.serving.worker import WorkLimits
from models_store.errors import CorruptArtifact, InvalidArtifact
from models_store.generator import TextGenerator, open_generator
from models_store.manifest import Task
from models_store.store import Store

TRANSLATION = Task.TRANSLATION


class CountingOpener:
    """Opens artifacts for real, once `gate` is open, unless `error` is set."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self, store: Store, task: Task, variant: str, runtime: str | None, threads: int) -> TextGenerator:
        self.opened.append(variant)
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        return open_generator(store, task, variant, runtime, threads)


def with_pool(store: Store, opener: CountingOpener, scenario: Callable[[Pool], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        pool = Pool(store, ServiceMetrics("test"), WorkLimits(), opener=opener)
        try:
            await asyncio.wait_for(scenario(pool), 30)
        finally:
            opener.gate.set()
            await pool.close()

    asyncio.run(run())


def test_many_who_ask_share_one_load(embedded: Store) -> None:
    opener = CountingOpener()

    async def scenario(pool: Pool) -> None:
        loaded = await asyncio.gather(*(pool.get(TRANSLATION, "quantized") for _ in range(5)))

        assert opener.opened == ["quantized"] and len({id(each) for each in loaded}) == 1
        assert loaded[0].runtime == "onnxruntime" and loaded[0].load_seconds > 0
        files = (embedded.folder(TRANSLATION, "quantized") / "onnx").iterdir()
        assert loaded[0].disk_bytes == sum(file.stat().st_size for file in files)
        assert pool.find(TRANSLATION, "quantized") is loaded[0] and pool.find(TRANSLATION, "original") is None

    with_pool(embedded, opener, scenario)


def test_a_load_stalls_neither_the_event_loop_nor_open_variants(embedded: Store) -> None:
    opener = CountingOpener()

    async def scenario(pool: Pool) -> None:
        await pool.get(TRANSLATION, "quantized")
        opener.gate.clear()
        loading = asyncio.create_task(pool.get(TRANSLATION, "original"))
        started = time.monotonic()
        await asyncio.sleep(0.05)
        await pool.get(TRANSLATION, "quantized")

        assert time.monotonic() - started < 1 and not loading.done()
        opener.gate.set()
        assert (await loading).key.variant == "original"

    with_pool(embedded, opener, scenario)


def test_one_who_leaves_does_not_stop_the_load_for_others(embedded: Store) -> None:
    opener = CountingOpener()
    opener.gate.clear()

    async def scenario(pool: Pool) -> None:
        leaving, staying = (asyncio.create_task(pool.get(TRANSLATION, "quantized")) for _ in range(2))
        await asyncio.sleep(0.05)
        leaving.cancel()
        opener.gate.set()

        assert (await staying).key.variant == "quantized" and len(opener.opened) == 1

    with_pool(embedded, opener, scenario)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (CorruptArtifact("translation/quantized", "onnx/decoder.onnx", "is missing"), CorruptArtifact),
        (MemoryError(), InvalidArtifact),
    ],
)
def test_a_failed_load_is_told_and_tried_again(embedded: Store, error: Exception, raised: type[Exception]) -> None:
    opener = CountingOpener()
    opener.error = error

    async def scenario(pool: Pool) -> None:
        with pytest.raises(raised):
            await pool.get(TRANSLATION, "quantized")
        assert isinstance(pool.last_error(TRANSLATION, "quantized"), raised) and pool.loaded() == []
        opener.error = None

        assert (await pool.get(TRANSLATION, "quantized")).key.variant == "quantized"
        assert pool.last_error(TRANSLATION, "quantized") is None

    with_pool(embedded, opener, scenario)


def test_a_closed_pool_opens_nothing(embedded: Store) -> None:
    async def scenario(pool: Pool) -> None:
        await pool.get(TRANSLATION, "quantized")
        await pool.close()

        assert pool.loaded() == []
        with pytest.raises(ShuttingDown):
            await pool.get(TRANSLATION, "quantized")

    with_pool(embedded, CountingOpener(), scenario)
