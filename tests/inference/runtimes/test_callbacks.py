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

GREEDY = pytest.param({"num_beams": 1}, id="greedy")
BEAMS = pytest.param({"num_beams": 4}, id="beams")
SAMPLING = pytest.param({"num_beams": 1, "do_sample": True, "seed": 7}, id="sampling")


@pytest.fixture(scope="module", params=["onnxruntime", "ctranslate2", "torch"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextGenerator]:
    context = tiny_store(tmp_path_factory.mktemp("callbacks"))
    add_onnx(context, Task.TRANSLATION, "original")
    add_ctranslate2(context, Task.TRANSLATION, "original")
    with open_generator(context.store, Task.TRANSLATION, "original", request.param, threads=1) as opened:
        yield opened


def rows_and_options(generator: TextGenerator, **settings: Any) -> tuple[list[list[int]], GenerationOptions]:
    """Returns three rows, and options with which each output has 20 to 24 tokens."""
    rows = [generator.encode(source).ids for source, _ in SENTENCES[:3]]
    return rows, generator.manifest.generation.options(**{"min_new_tokens": 20, "max_new_tokens": 24} | settings)


@pytest.mark.parametrize("settings", [GREEDY, BEAMS, SAMPLING])
def test_tokens_are_reported_in_order_completely_and_with_their_row(
    generator: TextGenerator, settings: dict[str, Any]
) -> None:
    rows, options = rows_and_options(generator, **settings)
    reported: list[list[int]] = [[] for _ in rows]

    sequences = generator.runtime.generate(
        rows, options, GenerationCallbacks(on_token=lambda row, token: reported[row].append(token))
    )

    assert reported == [sequence.ids for sequence in sequences]


# Not beams: CTranslate2 cannot interrupt a beam search.
@pytest.mark.parametrize("settings", [GREEDY, SAMPLING])
def test_a_cancelled_generation_ends_at_the_next_step(generator: TextGenerator, settings: dict[str, Any]) -> None:
    rows, options = rows_and_options(generator, **settings)
    # Three steps go on, all others are cancelled.
    answers = chain([False] * 3, repeat(True))

    # CTranslate2 can be interrupted only where there is an `on_token`.
    sequences = generator.runtime.generate(
        rows,
        options,
        GenerationCallbacks(on_token=lambda _row, _token: None, is_cancelled=lambda: next(answers)),
    )

    assert {sequence.finish_reason for sequence in sequences} == {"cancelled"}
    # A runtime may ask before a step, or after it: then the cancelled step's token is there too. Where rows run one
    # after another, later ones are cancelled at once.
    longest = max(len(sequence.ids) for sequence in sequences)
    assert longest in (3, 4)


def test_what_a_callback_raises_reaches_the_caller(generator: TextGenerator) -> None:
    def fail(_row: int, _token: int) -> None:
        raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError, match="nobody listens"):
        generator.runtime.generate(*rows_and_options(generator), GenerationCallbacks(on_token=fail))
