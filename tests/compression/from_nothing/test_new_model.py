"""A new model with random weights has the architecture that its options name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from slimseq.compression.artifacts.publish import write_model
from slimseq.compression.errors import BadParameters
from slimseq.compression.from_nothing.new_model import NewModelOptions, make_model
from slimseq.inference.models.pretrained import is_output_tied
from tests.compression.tiny import ARCHITECTURE
from tests.families import Family


@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("is_tied", [False, True])
def test_a_t5_is_what_its_flags_say(tmp_path: Path, is_gated: bool, is_tied: bool) -> None:
    model = make_model(replace(ARCHITECTURE, is_gated=is_gated, is_tied=is_tied), 300, seed=0)
    write_model(model, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)

    assert (config.num_layers, config.num_decoder_layers, config.d_ff, config.num_heads) == (2, 2, 64, 4)
    assert (config.is_gated_act, is_output_tied(loaded)) == (is_gated, is_tied)
    assert config.vocab_size == 320
    assert loaded.num_parameters() == model.num_parameters()


def test_a_bart_has_unit_embeddings_and_the_keys_that_converters_want(tmp_path: Path) -> None:
    model = make_model(replace(ARCHITECTURE, family=Family.BART), 300, seed=0)
    write_model(model, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    embedded = model.get_submodule("model.encoder.embed_tokens")(torch.arange(4, 300)).detach()

    assert float(embedded.std()) == pytest.approx(1.0, rel=0.05)
    assert (config.normalize_before, config.normalize_embedding) == (False, True)
    assert (config.add_final_layer_norm, config.add_bias_logits) == (False, False)
    assert (config.scale_embedding, config.vocab_size, config.max_position_embeddings) == (True, 300, 64)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"family": "gpt2"},
            "--family gpt2 is none of t5, mt5, umt5, bart, mbart, m2m_100, marian, marian-student, pegasus",
        ),
        ({"width": 30}, "width 30 is not divisible by 4 heads"),
        ({"encoder_layers": 0}, "at least 1"),
    ],
)
def test_an_impossible_architecture_is_refused(wrong: dict[str, Any], words: str) -> None:
    options: NewModelOptions = replace(ARCHITECTURE, **wrong)

    with pytest.raises(BadParameters, match=words):
        make_model(options, 300, seed=0)
