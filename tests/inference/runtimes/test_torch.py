"""PyTorch's two runtimes: caches that are made once change no token, and bfloat16 translates as fp32 does."""

import subprocess
import sys

import pytest
import torch

from slimseq.evaluation.datasets import load_examples
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.runtimes.torch import TorchRuntime, open_model, open_runtime
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SENTENCES = [example.source for example in load_examples(Task.TRANSLATION, "sample").examples][:6]
MOST_TOKENS = 24


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("task", list(Task))
def test_caches_that_are_made_once_change_no_token(embedded: Store, task: Task, beams: int) -> None:
    folder = embedded.folder(task, "original")
    model = open_model(folder, torch.float32)
    static = TorchRuntime("static", model, read_configuration(folder), 1, has_static_caches=True)
    with open_generator(embedded, task, "original", "torch") as generator:
        options = generator.manifest.generation.options(num_beams=beams, max_new_tokens=MOST_TOKENS)
        rows = [generator.encode(text).ids for text in SENTENCES]

        for part in (rows, rows[:2]):
            assert static.generate(part, options) == open_runtime(folder, threads=1).generate(part, options)


def test_bfloat16_translates_as_fp32_does(embedded: Store) -> None:
    texts = []
    for runtime in ("torch", "torch-bf16"):
        with open_generator(embedded, Task.TRANSLATION, "original", runtime) as generator:
            assert generator.runtime.name == runtime
            options = generator.manifest.generation.options(max_new_tokens=MOST_TOKENS)
            encodings = [generator.encode(text) for text in SENTENCES]
            texts.append([output.text for output in generator.generate(encodings, options)])

    assert sum(one == other for one, other in zip(*texts, strict=True)) >= len(SENTENCES) / 2


LOADING = """
import sys, threading, time
from slimseq.inference.runtimes.torch import load_library

loading, turns = threading.Thread(target=load_library), 0
loading.start()
while loading.is_alive():
    turns += 1
    time.sleep(0.001)
assert "torch" not in sys.modules
print(turns, "libtorch_cpu.so" in open("/proc/self/maps").read())
import torch
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the library has another name")
def test_other_threads_go_on_while_the_library_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)

    turns, is_loaded = done.stdout.split()
    # With the interpreter lock held, a handful.
    assert is_loaded == "True" and int(turns) > 20
