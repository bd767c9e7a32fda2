from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from tests.inference.graphs.stepwise import largest_differences, randomized

SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "gelu": {},
    "scaled embedding, relu": {"scale_embedding": True, "activation_function": "relu"},
    "gelu_new, untied": {"activation_function": "gelu_new", "tie_word_embeddings": False},
    "stacks that differ": {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 8,
        "encoder_ffn_dim": 20,
        "decoder_ffn_dim": 28,
        "encoder_layers": 3,
        "decoder_layers": 1,
    },
    "pruned": {"d_model": 24, "encoder_attention_heads": 3, "decoder_attention_heads": 3, "decoder_ffn_dim": 10},
}


def model_of(**changes: Any) -> Any:
    torch.manual_seed(0)
    return randomized(BartForConditionalGeneration(BartConfig(**(SHAPE | changes))))


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_graphs_compute_what_the_model_computes(tmp_path: Path, name: str) -> None:
    differences = largest_differences(model_of(**CONFIGURATIONS[name]), tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_the_output_bias_is_added(tmp_path: Path) -> None:
    model = model_of()
    model.final_logits_bias.normal_()

    differences = largest_differences(model, tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_weights_of_16_bits_are_widened(tmp_path: Path) -> None:
    differences = largest_differences(model_of().to(torch.float16), tmp_path)

    assert max(differences.values()) < 1e-4, differences
