"""Random ids look like texts where it matters: specials stand where tokenizers put them, frequent tokens come often."""

from pathlib import Path

import numpy as np
import pytest

from slimseq.compression.context import Context
from slimseq.compression.quantize.random_inputs import Reading, random_batch
from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task


@pytest.fixture
def source(context: Context) -> Path:
    return context.store.folder(Task.TRANSLATION, "original")


def test_texts_begin_and_end_as_the_tokenizer_has_them(source: Path) -> None:
    specials = Tokenizer(source).encode("", 16).ids

    batch = random_batch(source)

    before, end = specials[:-1], specials[-1]
    assert (batch.sources[:, : len(before)] == before).all()
    assert (batch.sources[:, -1] == end).all()
    assert (batch.tokens[:, 0] == read_configuration(source).decoder_start_id).all()


def test_half_of_the_texts_have_small_ids_more_often(source: Path) -> None:
    sources = random_batch(source).sources[:, 1:-1]

    plain, frequent = (np.median(sources[start::2]) for start in (0, 1))

    vocabulary = read_configuration(source).vocabulary
    assert abs(plain - vocabulary / 2) < vocabulary / 8
    assert frequent < vocabulary / 6
    assert sources.min() >= 0 and sources.max() < vocabulary


@pytest.mark.parametrize("graph", [ENCODER, DECODER])
def test_values_are_those_of_every_token_and_nothing_is_left_behind(source: Path, tmp_path: Path, graph: str) -> None:
    exported = tmp_path / "exported"
    export_onnx(source, exported, FloatCrossAttentionCache())
    files, reading = sorted(exported.iterdir()), Reading(exported, graph, random_batch(source))
    name = "present.0.encoder.value" if graph == ENCODER else "logits"

    values = reading.values([name])

    assert list(values) == [name]
    assert values[name].size % reading.batch.sources.size == 0
    assert sorted(exported.iterdir()) == files
    assert reading.values([]) == {}
