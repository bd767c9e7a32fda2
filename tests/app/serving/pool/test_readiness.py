"""What is loaded at the start, what is tried again, and when the service is ready."""

import asyncio

import pytest

from slimseq.app.errors import NotReady
from slimseq.app.serving.pool import readiness as readiness_module
from slimseq.app.serving.pool.readiness import Readiness
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.parts import parts_of
from tests.app.serving.working import until
from tests.damage import flip_bytes

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness_module, "RETRY_SECONDS", 0.05)


async def after_preload(store: Store, *preload: tuple[Task, str]) -> list[str]:
    parts = parts_of(store)
    readiness = Readiness(parts.chooser, parts.pool, preload)
    try:
        with pytest.raises(NotReady, match="loading"):
            readiness.check()
        await readiness.preload()
        readiness.check()
        return [str(loaded.key) for loaded in parts.pool.loaded()]
    finally:
        await parts.pool.close()


async def test_the_defaults_or_the_chosen_variants_are_opened_and_then_it_is_ready(embedded: Store) -> None:
    assert await after_preload(embedded) == ["summarization/quantized", "translation/quantized"]
    assert await after_preload(embedded, (Task.TRANSLATION, "original")) == ["translation/original"]


def break_all(store: Store, task: Task) -> None:
    for variant in store.variants(task):
        flip_bytes(store.folder(task, variant) / "tokenizer.json")


async def test_one_task_is_enough_to_be_ready(own_store: Store) -> None:
    break_all(own_store, Task.TRANSLATION)

    assert await after_preload(own_store) == ["summarization/quantized"]


async def test_a_default_that_was_mended_takes_its_place_again(own_store: Store) -> None:
    decoder = own_store.folder(Task.TRANSLATION, "quantized") / "onnx" / "decoder.onnx"
    whole = decoder.read_bytes()
    flip_bytes(decoder)

    parts = parts_of(own_store)
    readiness = Readiness(parts.chooser, parts.pool)
    trying = readiness.start()
    try:
        await until(lambda: parts.chooser.find_default(Task.TRANSLATION) == "original")
        await asyncio.sleep(0.3)
        assert parts.chooser.find_default(Task.TRANSLATION) == "original"

        decoder.write_bytes(whole)

        await until(lambda: parts.chooser.find_default(Task.TRANSLATION) == "quantized")
        assert parts.pool.find(Task.TRANSLATION, "quantized") is not None
    finally:
        trying.cancel()
        await parts.pool.close()


async def test_a_service_that_was_not_ready_is_once_a_variant_is_mended(own_store: Store) -> None:
    for task in Task:
        break_all(own_store, task)
    # Not the one that would be the default.
    tokenizer = own_store.folder(Task.TRANSLATION, "original") / "tokenizer.json"
    parts = parts_of(own_store)
    readiness = Readiness(parts.chooser, parts.pool)
    trying = readiness.start()

    def is_ready() -> bool:
        try:
            readiness.check()
        except NotReady as error:
            return "loading" in str(error)
        return True

    try:
        await until(lambda: not is_ready())
        flip_bytes(tokenizer)
        await until(is_ready)
        assert [str(loaded.key) for loaded in parts.pool.loaded()] == ["translation/original"]
    finally:
        trying.cancel()
        await parts.pool.close()
