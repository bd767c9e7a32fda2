"""Prompt lookup: drafts are tokens guessed from the source and verified in one decoder run.

Ids and scores must equal those without drafts, bit for bit. `tests/inference/decoding/test_lookup.py` tests how drafts
are made.
"""

import shutil
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
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
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.tiny import tiny_context, tiny_import, tiny_model_folder
from tests.families import Family
from tests.inference.engine.company import exact_output, in_company

TASK = Task.SUMMARIZATION
# Options of greedy search, with the rules that drafts must follow.
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


def test_drafts_of_summaries_halve_the_steps_and_change_no_id_and_no_bit_of_a_score(summarizer: TextGenerator) -> None:
    runtime, examples = summarizer.runtime, load_examples(TASK, "sample").examples[:DOCUMENTS]
    assert isinstance(runtime, OnnxRuntime)
    rows = [list(summarizer.encode(example.source).ids) for example in examples]
    options_of_settings = [summarizer.manifest.generation.options(num_beams=1, **each) for each in SETTINGS]
    options = [options_of_settings[row % len(SETTINGS)] for row in range(len(rows))]
    without_drafts = [
        runtime.generate([row], each.without_speculation())[0] for row, each in zip(rows, options, strict=True)
    ]

    drafted_alone = [runtime.generate([row], each)[0] for row, each in zip(rows, options, strict=True)]
    drafted_in_company = in_company(runtime.engine(), rows, options, most_tokens=600)

    expected = list(map(exact_output, without_drafts))
    assert list(map(exact_output, drafted_alone)) == expected
    assert list(map(exact_output, drafted_in_company)) == expected
    assert all(each.steps == len(each.ids) for each in without_drafts)
    assert sum(each.steps for each in drafted_alone) < sum(len(each.ids) for each in drafted_alone) / 2


def test_a_variant_whose_own_search_is_greedy_drafts_unless_a_prompt_forbids_it(summarizer: TextGenerator) -> None:
    generation = summarizer.manifest.generation.model_copy(update={"num_beams": 1})
    greedy = copy(summarizer)
    greedy.manifest = summarizer.manifest.model_copy(update={"generation": generation})
    # The generator keeps the options of its old manifest.
    vars(greedy).pop("default_options", None)
    prompt = Prompt([load_examples(TASK, "sample").examples[0].source])

    steps = []
    for each in (prompt, replace(prompt, speculate=False)):
        planned = plan(greedy, each, max_rows=1)
        [sequence] = greedy.runtime.generate([row.ids for row in planned.rows], planned.options)
        steps.append((sequence.steps, sequence.ids))

    (drafted_steps, drafted_ids), (usual_steps, ids) = steps
    assert drafted_ids == ids
    assert drafted_steps < usual_steps == len(ids)


@pytest.mark.parametrize("variant", ["original", "quantized"])
@pytest.mark.parametrize("family", list(Family))
def test_drafts_of_random_models_change_nothing_though_most_are_wrong(
    family: Family, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drafts cost nothing then, so all of them are tried, however often they were wrong.
    monkeypatch.setattr(lookup, "POSITION_COST", 0.0)
    monkeypatch.setattr(lookup, "SAVED_ALONE", 0.0)
    context = tiny_import(tmp_path, tiny_model_folder(family, tmp_path / "model"), TASK)
    if variant != "original":
        quantize(context, TASK, "original", variant, QuantizeOptions())
    with open_generator(context.store, TASK, variant, "onnxruntime", threads=1) as generator:
        runtime, random = generator.runtime, np.random.default_rng(0)
        assert isinstance(runtime, OnnxRuntime)
        options = GenerationOptions(max_new_tokens=40, no_repeat_ngram_size=3, min_new_tokens=30)
        random_rows = [random.integers(4, 60, 30).tolist() for _ in range(8)]
        # Some drafts must be right. So sources consist of tokens that the model generates, in this order and shuffled.
        generated_ids = [each.ids for each in runtime.generate(random_rows, options.without_speculation())]
        rows = [[*random.permutation(ids[:20]).tolist(), *ids[:20]] for ids in generated_ids]
        without_drafts = [runtime.generate([row], options.without_speculation())[0] for row in rows]

        drafted_in_company = in_company(runtime.engine(), rows, [options] * len(rows), most_tokens=600)
        drafted = runtime.generate(rows, options)

    expected = list(map(exact_output, without_drafts))
    assert list(map(exact_output, drafted)) == expected
    assert list(map(exact_output, drafted_in_company)) == expected
    assert sum(each.steps for each in drafted) < sum(len(each.ids) for each in drafted)


GROUPED_BIAS = {SELF_ATTENTION_BIAS: ["inputs", 1, "groups", "rows", "capacity"]}


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        pytest.param(GROUPED_BIAS, True, id="documents, absolute positions"),
        pytest.param(
            GROUPED_BIAS | {DISTANCES: ["inputs", "groups", "rows", "capacity"]}, True, id="documents, distances"
        ),
        pytest.param(GROUPED_BIAS | {DISTANCES: ["inputs", "capacity"]}, False, id="an older Slimseq"),
        pytest.param({SELF_ATTENTION_BIAS: ["inputs", 1, 1, "rows", "capacity"]}, False, id="sentences"),
        pytest.param({past_state(0): ["rows", 8]}, False, id="recurrent"),
    ],
)
def test_only_graphs_for_documents_take_several_tokens_of_an_input_in_a_run(
    shapes: dict[str, list[int | str]], expected: bool
) -> None:
    assert takes_positions(shapes) == expected
