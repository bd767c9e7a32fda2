"""What all runtimes promise of the callbacks of a generation."""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest

from slimseq.compression.export.exporting import add_ctranslate2, add_onnx
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_store

GREEDY, BEAMS, SAMPLING = {"num_beams": 1}, {"num_beams": 4}, {"num_beams": 1, "do_sample": True, "seed": 7}


@pytest.fixture(scope="module", params=["onnxruntime", "ctranslate2", "torch"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextGenerator]:
    context = tiny_store(tmp_path_factory.mktemp("callbacks"))
    add_onnx(context, Task.TRANSLATION, "original")
    add_ctranslate2(context, Task.TRANSLATION, "original")
    with open_generator(context.store, Task.TRANSLATION, "original", request.param, threads=1) as opened:
        yield opened


def given(generator: TextGenerator, **settings: Any) -> tuple[list[list[int]], GenerationOptions]:
    rows = [generator.encode(source).ids for source, _ in SENTENCES[:3]]
    return rows, generator.manifest.generation.options(**{"min_new_tokens": 20, "max_new_tokens": 24} | settings)


@pytest.mark.parametrize("settings", [GREEDY, BEAMS, SAMPLING])
def test_tokens_are_told_in_order_completely_and_with_their_row(
    generator: TextGenerator, settings: dict[str, Any]
) -> None:
    rows, options = given(generator, **settings)
    told: list[list[int]] = [[] for _ in rows]

    sequences = generator.runtime.generate(
        rows, options, GenerationCallbacks(on_token=lambda row, token: told[row].append(token))
    )

    assert told == [sequence.ids for sequence in sequences]


@pytest.mark.parametrize("settings", [GREEDY, SAMPLING])
def test_a_cancelled_generation_ends_at_the_next_step(generator: TextGenerator, settings: dict[str, Any]) -> None:
    rows, options = given(generator, **settings)
    answers = chain([False] * 3, repeat(True))

    sequences = generator.runtime.generate(
        rows, options, GenerationCallbacks(lambda row, token: None, lambda: next(answers))
    )

    assert {sequence.finish_reason for sequence in sequences} == {"cancelled"}
    assert 3 <= max(len(sequence.ids) for sequence in sequences) <= 4


def test_what_a_callback_raises_reaches_the_caller(generator: TextGenerator) -> None:
    def fail(_row: int, _token: int) -> None:
        raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError, match="nobody listens"):
        generator.runtime.generate(*given(generator), GenerationCallbacks(on_token=fail))
