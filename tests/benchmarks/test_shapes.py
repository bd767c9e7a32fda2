"""The shapes that `benchmarks.peers --shapes` measures: they have the sizes of the published models."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from benchmarks.shapes import INPUTS, SHAPES, Shape, inputs_of, make_shape
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

# Parameters of the published checkpoints, in millions.
PUBLISHED_MILLIONS = {
    "t5-small": 60.5,
    "bart-base": 139.4,
    "distilbart-cnn-12-6": 305.5,
    "bart-large-cnn": 406.3,
    "pegasus-xsum": 569,
    "opus-mt": 74,
    "nllb-200-600m": 615,
}
TINY = Shape(
    Task.TRANSLATION,
    input_tokens=24,
    new_tokens=6,
    config={
        "model_type": "marian",
        "vocab_size": 9000,
        "decoder_vocab_size": 9000,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 64,
        "pad_token_id": 8999,
        "eos_token_id": 0,
        "bos_token_id": 0,
        "decoder_start_token_id": 8999,
        "forced_eos_token_id": 0,
    },
    search={"no_repeat_ngram_size": 3},
)


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_as_many_parameters_as_the_published_model(name: str) -> None:
    config = dict(SHAPES[name].config)

    with torch.device("meta"):
        known = AutoConfig.for_model(config.pop("model_type"), **config)
        model = AutoModelForSeq2SeqLM.from_config(known)  # type: ignore[no-untyped-call]

    millions = sum(each.numel() for each in model.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED_MILLIONS[name], rel=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_lengths_of_a_shape_are_within_its_positions(name: str) -> None:
    shape = SHAPES[name]
    positions = shape.config.get("max_position_embeddings") or shape.config["n_positions"]

    assert shape.input_tokens <= positions
    assert shape.new_tokens < positions


def test_a_model_of_a_shape_has_the_configuration_and_search_of_the_shape_and_is_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    made = make_shape(TINY, Store(embedded_store()), store)
    again = make_shape(TINY, Store(embedded_store()), store)

    known = read_configuration(store.folder(TINY.task, "original"))
    assert (known.vocabulary, known.decoder_layers, known.pad_id, known.eos_id) == (9000, 2, 8999, 0)
    assert made.generation.no_repeat_ngram_size == 3
    assert made.generation.max_new_tokens == 6
    assert again.digest == made.digest


def test_inputs_have_the_exact_length_and_end_with_the_end_token(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_shape(TINY, Store(embedded_store()), store)

    inputs = inputs_of(TINY, store.folder(TINY.task, "original"))

    assert len(inputs) == INPUTS
    assert {len(ids) for ids in inputs} == {24}
    assert {ids[-1] for ids in inputs} == {0}
    assert all(10 <= token < 8999 for ids in inputs for token in ids[:-1])
    assert len({tuple(ids) for ids in inputs}) > INPUTS / 2, "the inputs repeat each other"
