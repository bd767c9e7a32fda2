"""Greedy search with drafts from the source gives the ids and the scores of greedy search, to the last bit."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.evaluation.datasets import load_examples
from slimseq.inference.decoding import lookup
from slimseq.inference.engine.memory import takes_positions
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.graphs.tensor_names import DISTANCES, SELF_ATTENTION_BIAS, past_state
from slimseq.inference.runtimes.onnxruntime import OnnxRuntime
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.tiny import tiny_context, tiny_import, tiny_model_folder
from tests.families import Family
from tests.inference.engine.company import bits, in_company

TASK = Task.SUMMARIZATION
SETTINGS: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": 0},
    {},
    {"no_repeat_ngram_size": 2, "min_new_tokens": 30},
    {"repetition_penalty": 1.2},
    {"min_new_tokens": 9, "max_new_tokens": 9},
]
DOCUMENTS = 20


@pytest.fixture(scope="module", params=["original", "quantized"])
def summarizer(
    request: pytest.FixtureRequest, embedded: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TextGenerator]:
    context = tiny_context(tmp_path_factory.mktemp("summarizer"))
    shutil.copytree(embedded.folder(TASK, "original"), context.store.folder(TASK, "original"))
    if request.param != "original":
        quantize(context, TASK, "original", request.param, QuantizeOptions())
    with open_generator(context.store, TASK, request.param, "onnxruntime", threads=1) as generator:
        yield generator


def test_drafts_change_no_id_and_no_bit_of_a_score_in_any_company(summarizer: TextGenerator) -> None:
    runtime, examples = summarizer.runtime, load_examples(TASK, "sample").examples[:DOCUMENTS]
    assert isinstance(runtime, OnnxRuntime)
    rows = [list(summarizer.encode(example.source).ids) for example in examples]
    made = [summarizer.manifest.generation.options(num_beams=1, **each) for each in SETTINGS]
    options = [made[place % len(made)] for place in range(len(rows))]
    usual = [runtime.generate([row], each.without_speculation())[0] for row, each in zip(rows, options, strict=True)]

    alone = [runtime.generate([row], each)[0] for row, each in zip(rows, options, strict=True)]
    together = in_company(runtime.engine(), rows, options, most_tokens=600)

    assert [bits(each) for each in alone] == [bits(each) for each in usual] == list(map(bits, together))
    assert all(each.steps == len(each.ids) for each in usual)
    assert sum(each.steps for each in alone) < sum(len(each.ids) for each in alone) / 2


@pytest.mark.parametrize("variant", ["original", "quantized"])
@pytest.mark.parametrize("family", list(Family))
def test_wrong_drafts_of_random_models_change_nothing(
    family: Family, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All drafts are tried, however often they were wrong.
    monkeypatch.setattr(lookup, "POSITION_COST", 0.0)
    monkeypatch.setattr(lookup, "SAVED_ALONE", 0.0)
    context = tiny_import(tmp_path, tiny_model_folder(family, tmp_path / "model"), TASK)
    if variant != "original":
        quantize(context, TASK, "original", variant, QuantizeOptions())
    with open_generator(context.store, TASK, variant, "onnxruntime", threads=1) as generator:
        runtime, draw = generator.runtime, np.random.default_rng(0)
        assert isinstance(runtime, OnnxRuntime)
        options = GenerationOptions(max_new_tokens=40, no_repeat_ngram_size=3, min_new_tokens=30)
        first = [draw.integers(4, 60, 30).tolist() for _ in range(8)]
        # Sources of tokens that the model likes, in this order and in another one.
        liked = [each.ids for each in runtime.generate(first, options.without_speculation())]
        rows = [[*draw.permutation(ids[:20]).tolist(), *ids[:20]] for ids in liked]
        usual = [runtime.generate([row], options.without_speculation())[0] for row in rows]

        together = in_company(runtime.engine(), rows, [options] * len(rows), most_tokens=600)
        drafted = runtime.generate(rows, options)

    assert list(map(bits, together)) == list(map(bits, drafted)) == list(map(bits, usual))
    assert sum(each.steps for each in drafted) < sum(len(each.ids) for each in drafted)


def test_graphs_for_sentences_recurrent_ones_and_those_of_an_older_slimseq_take_one_token_an_input() -> None:
    groups: list[int | str] = ["inputs", 1, "groups", "rows", "capacity"]

    assert takes_positions({SELF_ATTENTION_BIAS: groups})
    assert takes_positions({SELF_ATTENTION_BIAS: groups, DISTANCES: ["inputs", "groups", "rows", "capacity"]})
    assert not takes_positions({SELF_ATTENTION_BIAS: groups, DISTANCES: ["inputs", "capacity"]})
    assert not takes_positions({SELF_ATTENTION_BIAS: ["inputs", 1, 1, "rows", "capacity"]})
    assert not takes_positions({past_state(0): ["rows", 8]})
