"""`int8-dynamic` rounds no row by what another holds: an answer is the same alone and beside any others."""

import shutil
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

# It loads embedded models.
pytestmark = pytest.mark.slow

BATCH = 8
TEXTS = {Task.TRANSLATION: 24, Task.SUMMARIZATION: 8}


@pytest.mark.parametrize("task", list(Task))
def test_outputs_do_not_depend_on_the_batch(tmp_path: Path, task: Task) -> None:
    store = Store(tmp_path / "artifacts")
    shutil.copytree(embedded_store() / task.value / "original", store.folder(task, "original"))
    quantize(Context(store=store), task, "original", "quantized", QuantizeOptions())

    with open_generator(store, task, "quantized", threads=1) as generator:
        options = generator.manifest.generation.options(max_new_tokens=40)
        texts = [example.source for example in load_examples(task, BUNDLED).examples][: TEXTS[task]]
        # Of all lengths, so that each has others' padding.
        encodings = [generator.encode(text[: 40 + 97 * number % 900]) for number, text in enumerate(texts)]
        alone = [generator.generate([encoding], options)[0] for encoding in encodings]
        starts = range(0, len(encodings), BATCH)
        together = [one for start in starts for one in generator.generate(encodings[start : start + BATCH], options)]

    assert len(alone) >= BATCH
    assert together == alone
