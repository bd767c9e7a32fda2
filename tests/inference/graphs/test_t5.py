from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.models.configuration import read_json
from slimseq.models_store.errors import BadSource
from tests.inference.graphs.stepwise import largest_differences, randomized

SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "relu, tied": {},
    "gated gelu, untied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "gated silu": {"feed_forward_proj": "gated-silu"},
    "gelu": {"feed_forward_proj": "gelu"},
    "heads that are no share of the width": {"d_kv": 5, "num_heads": 3},
    "pruned": {"num_layers": 3, "num_decoder_layers": 1, "d_ff": 20, "num_heads": 3},
    "another epsilon": {"layer_norm_epsilon": 0.1},
}


def model_of(**changes: Any) -> Any:
    torch.manual_seed(0)
    return randomized(T5ForConditionalGeneration(T5Config(**(SHAPE | changes))))


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_graphs_compute_what_the_model_computes(tmp_path: Path, name: str) -> None:
    differences = largest_differences(model_of(**CONFIGURATIONS[name]), tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_weights_of_16_bits_are_widened(tmp_path: Path) -> None:
    differences = largest_differences(model_of().to(torch.bfloat16), tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_an_activation_that_is_not_known_is_named(tmp_path: Path) -> None:
    model_of(feed_forward_proj="tanh").save_pretrained(tmp_path / "model")

    with pytest.raises(BadSource, match="'tanh' is not supported"):
        export_onnx(tmp_path / "model", tmp_path / "onnx", FloatCrossAttentionCache())


def test_a_configuration_of_the_hub_says_little(tmp_path: Path) -> None:
    model = model_of(feed_forward_proj="gated-gelu")
    differences = largest_differences(model, tmp_path)
    config = read_json(tmp_path / "model" / "config.json")
    kept = {key: config[key] for key in (*SHAPE, "model_type", "feed_forward_proj")}
    config_path = tmp_path / "model" / "config.json"
    config_path.write_text(str(kept).replace("'", '"'), encoding="utf-8")

    export_onnx(tmp_path / "model", tmp_path / "again", FloatCrossAttentionCache())

    assert max(differences.values()) < 1e-4
    for name in ("encoder.onnx", "decoder.onnx", "weights.data"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "onnx" / name).read_bytes()
