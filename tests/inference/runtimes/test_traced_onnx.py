"""Graphs that optimum traced give the token ids of `transformers.generate` too, under our search."""

from collections.abc import Iterator
from typing import Any

import pytest

from slimseq.compression.export.exporting import add_onnx
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtimes.traced_onnx import TracedOnnxRuntime
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_store
from tests.families import Family

SETTINGS: dict[str, dict[str, Any]] = {
    # Left alone, random weights write one token for ever, and it may be padding.
    "greedy": {"no_repeat_ngram_size": 1},
    "greedy with rules": {"no_repeat_ngram_size": 2, "repetition_penalty": 1.1},
    "beam 4": {"num_beams": 4},
    "beam 3 with rules": {"num_beams": 3, "no_repeat_ngram_size": 2, "length_penalty": 2.0, "min_new_tokens": 8},
}


@pytest.fixture(scope="module", params=list(Family), ids=[family.value for family in Family])
def traced_and_torch(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[TextGenerator]]:
    pytest.importorskip("optimum")
    folder = tmp_path_factory.mktemp("traced")
    context = tiny_store(folder, request.param)
    add_onnx(context, Task.TRANSLATION, "original", "optimum")
    with (
        open_generator(context.store, Task.TRANSLATION, "original", "onnxruntime", threads=1) as traced,
        open_generator(context.store, Task.TRANSLATION, "original", "torch", threads=1) as reference,
    ):
        assert isinstance(traced.runtime, TracedOnnxRuntime)
        yield [traced, reference]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_token_ids_equal_those_of_transformers(traced_and_torch: list[TextGenerator], name: str) -> None:
    traced, reference = traced_and_torch
    options = traced.manifest.generation.options(**({"max_new_tokens": 24} | SETTINGS[name]))
    rows = [traced.encode(source).ids for source, _ in SENTENCES]

    assert traced.runtime.generate(rows, options) == reference.runtime.generate(rows, options)
