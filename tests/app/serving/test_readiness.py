import asyncio

import pytest

from app.errors import NotReady
from app.serving.readiness import Readiness
from models_store.manifest import Task
from models_store.store import Store
from tests.app.serving.parts import parts_of


def after_preload(store: Store, *preload: tuple[Task, str]) -> list[str]:
    async def run() -> list[str]:
        parts = parts_of(store)
        readiness = Readiness(parts.catalogue, parts.pool, preload)
        try:
            with pytest.raises(NotReady, match="opening"):
                readiness.check()
            await readiness.preload()
            readiness.check()
            return [str(loaded.key) for loaded in parts.pool.loaded()]
        finally:
            await parts.pool.close()

    return asyncio.run(run())


def test_the_defaults_are_opened_and_then_it_is_ready(embedded: Store) -> None:
    assert after_preload(embedded) == ["summarization/quantized", "translation/quantized"]


def test_chosen_variants_are_opened_instead(embedded: Store) -> None:
    assert after_preload(embedded, (Task.TRANSLATION, "original")) == ["translation/original"]


def test_one_task_is_enough_to_be_ready(own_store: Store) -> None:
    (own_store.folder(Task.TRANSLATION, "quantized") / "onnx" / "encoder.onnx").unlink()

    assert after_preload(own_store) == ["summarization/quantized"]


def test_it_is_not_ready_where_no_default_opens(own_store: Store) -> None:
    for task in Task:
        (own_store.folder(task, "quantized") / "onnx" / "encoder.onnx").unlink()

    with pytest.raises(NotReady, match=r"encoder\.onnx is missing"):
        after_preload(own_store)
