"""Variants whose layers have different widths, and their int8 variants, answer as PyTorch does with their weights."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from slimseq.inference.load import load
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.service.client import Service, texts
from tests.service.conftest import needs_torch, running_service

pytestmark = needs_torch
# For each task, a text that its embedded model knows how to handle.
TEXTS = {
    Task.TRANSLATION: ["The children are playing in the garden.", "It is late.", "We saw a large dog near the river."],
    Task.SUMMARIZATION: ["The council met on Monday. It voted to build a new bridge. Work starts in May."],
}
PATHS = {Task.TRANSLATION: "/translate", Task.SUMMARIZATION: "/summarize"}


@pytest.fixture(scope="module")
def store(embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Both originals, cut so that their layers differ, and int8 variants of the cut ones."""
    # These imports need PyTorch, which a serving install has not.
    from slimseq.compression.context import Context
    from slimseq.compression.models import load_model
    from slimseq.compression.prune.prune import prune
    from slimseq.compression.prune.prune_options import PruneOptions
    from slimseq.compression.quantize.quantize import quantize
    from slimseq.compression.technique import Job
    from slimseq.compression.train.data.training_data import DataFiles
    from slimseq.compression.train.schedule import Bounds
    from slimseq.compression.train.training_options import TrainingOptions
    from tests.compression.tiny import tiny_file
    from tests.compression.varied import varied_plan

    folder = tmp_path_factory.mktemp("varied")
    context = Context(Store(folder / "artifacts"))
    data = tiny_file(folder)
    for task in Task:
        shutil.copytree(embedded.folder(task, "original"), context.store.folder(task, "original"))
        plan = varied_plan(load_model(context.store.folder(task, "original")))
        job = Job(context, task, "original", "varied", DataFiles([data]))
        prune(job, PruneOptions(plan=plan.record(), samples=8), TrainingOptions(Bounds(max_steps=0)))
        quantize(context, task, "varied", "varied-int8")
    return context.store


@pytest.fixture(scope="module")
def service(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service") / "log", store=store.root) as running:
        yield running


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("task", list(Task))
def test_an_answer_is_what_pytorch_generates_also_in_company(
    service: Service, store: Store, task: Task, num_beams: int
) -> None:
    options: dict[str, Any] = {"num_beams": num_beams, "max_new_tokens": 24}
    with load(store.folder(task, "varied"), runtime="torch") as model:
        expected = [output.text for output in model.generate(TEXTS[task], **options)]

    def answer(text: str | list[str]) -> list[str]:
        return texts(service.post(f"{PATHS[task]}?variant=varied", {"text": text, **options}))

    assert answer(TEXTS[task]) == expected
    with ThreadPoolExecutor(6) as pool:
        alone = [text for found in pool.map(answer, TEXTS[task] * 2) for text in found]
    assert alone == expected * 2


@pytest.mark.parametrize("task", list(Task))
def test_an_int8_variant_is_listed_verified_and_answers(service: Service, store: Store, task: Task) -> None:
    detail = service.get(f"/variants/{task}/varied-int8").json
    done = compression("verify", task, "varied-int8", "--store", store.root)

    assert detail["manifest"]["size"]["parameters"] == store.manifest(task, "varied").size.parameters
    assert done.code == 0, done.error
    assert all(texts(service.post(f"{PATHS[task]}?variant=varied-int8", {"text": TEXTS[task]})))
