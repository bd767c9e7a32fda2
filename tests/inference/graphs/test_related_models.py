"""The builders take a family's kin by their switches: each computes what transformers computes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
)

from tests.inference.graphs.stepwise import largest_differences, randomized

T5_SHAPE: dict[str, Any] = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
BART_SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "scale_embedding": True,
    "pad_token_id": 1,
}
# Model and configuration of transformers, and the configuration's keys.
KIN: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "mT5": (MT5ForConditionalGeneration, MT5Config, T5_SHAPE),
    "mT5 as its hub has it, untied": (
        MT5ForConditionalGeneration,
        MT5Config,
        T5_SHAPE | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mBART": (MBartForConditionalGeneration, MBartConfig, BART_SHAPE),
    "Marian": (MarianMTModel, MarianConfig, BART_SHAPE | {"activation_function": "swish", "decoder_start_token_id": 1}),
    "PEGASUS": (PegasusForConditionalGeneration, PegasusConfig, BART_SHAPE | {"activation_function": "relu"}),
}


@pytest.mark.parametrize("name", list(KIN))
def test_graphs_compute_what_the_model_computes(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    kind, configuration, switches = KIN[name]
    model = randomized(kind(configuration(**switches)))

    differences = largest_differences(model, tmp_path)

    assert max(differences.values()) < 1e-4, differences
