"""Whatever the switches of a family or of its related models are, graphs compute what transformers computes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.models.configuration import read_json
from slimseq.inference.models.marian_student_module import MarianStudentConfig, MarianStudentModel
from slimseq.models_store.errors import BadSource
from tests.inference.graphs.stepwise import largest_differences, randomized

T5_SHAPE: dict[str, Any] = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
SHAPE: dict[str, Any] = {"vocab_size": 50, "d_model": 32, "max_position_embeddings": 40, "decoder_layers": 2}
SHAPE |= {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
BART_SHAPE = SHAPE | {"encoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
BART_SHAPE |= {"scale_embedding": True, "pad_token_id": 1}
STUDENT_SHAPE = SHAPE | {"encoder_layers": 3, "attention_heads": 4, "head_width": 8}
GATED = T5_SHAPE | {"feed_forward_proj": "gated-gelu"}
UNTIED = GATED | {"tie_word_embeddings": False}
RELU = BART_SHAPE | {"activation_function": "relu"}
MARIAN = BART_SHAPE | {"activation_function": "swish", "decoder_start_token_id": 1}
TWO_VOCABULARIES = STUDENT_SHAPE | {"source_vocab_size": 60, "attention_heads": 2, "decoder_ffn_dim": 24}
# By name: the classes of model and configuration in transformers, and the configuration's keys.
RELATED: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "mT5": (transformers.MT5ForConditionalGeneration, transformers.MT5Config, T5_SHAPE),
    "mT5 as its hub has it, untied": (transformers.MT5ForConditionalGeneration, transformers.MT5Config, UNTIED),
    "umT5": (transformers.UMT5ForConditionalGeneration, transformers.UMT5Config, GATED),
    "umT5 as its hub has it, untied": (transformers.UMT5ForConditionalGeneration, transformers.UMT5Config, UNTIED),
    "M2M100 and NLLB": (transformers.M2M100ForConditionalGeneration, transformers.M2M100Config, RELU),
    "mBART": (transformers.MBartForConditionalGeneration, transformers.MBartConfig, BART_SHAPE),
    "Marian": (transformers.MarianMTModel, transformers.MarianConfig, MARIAN),
    "PEGASUS": (transformers.PegasusForConditionalGeneration, transformers.PegasusConfig, RELU),
}


STUDENTS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "Marian student": (MarianStudentModel, MarianStudentConfig, STUDENT_SHAPE),
    "Marian student with two vocabularies": (MarianStudentModel, MarianStudentConfig, TWO_VOCABULARIES),
}
T5_SWITCHES: dict[str, dict[str, Any]] = {
    "T5, relu, tied": {},
    "T5, gated gelu, untied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "T5, gated silu": {"feed_forward_proj": "gated-silu"},
    "T5, gelu": {"feed_forward_proj": "gelu"},
    "T5, heads that are no share of the width": {"d_kv": 5, "num_heads": 3},
    "T5, pruned": {"num_layers": 3, "num_decoder_layers": 1, "d_ff": 20, "num_heads": 3},
    "T5, another epsilon": {"layer_norm_epsilon": 0.1},
    "T5, 16 bits": {"dtype": torch.bfloat16},
}
BART_SWITCHES: dict[str, dict[str, Any]] = {
    "BART, gelu": {"scale_embedding": False},
    "BART, scaled embedding, relu": {"activation_function": "relu"},
    "BART, gelu_new, untied": {"activation_function": "gelu_new", "tie_word_embeddings": False},
    "BART, stacks that differ": {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 8,
        "encoder_ffn_dim": 20,
        "decoder_ffn_dim": 28,
        "encoder_layers": 3,
        "decoder_layers": 1,
    },
    "BART, pruned": {"d_model": 24, "encoder_attention_heads": 3, "decoder_attention_heads": 3, "decoder_ffn_dim": 10},
    "BART, 16 bits": {"dtype": torch.float16},
}
FEW_BUCKETS: dict[str, Any] = {
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
MODELS = (
    RELATED
    | STUDENTS
    | {
        name: (transformers.T5ForConditionalGeneration, transformers.T5Config, T5_SHAPE | FEW_BUCKETS | more)
        for name, more in T5_SWITCHES.items()
    }
    | {
        name: (transformers.BartForConditionalGeneration, transformers.BartConfig, BART_SHAPE | more)
        for name, more in BART_SWITCHES.items()
    }
)


def model_of(name: str, **changes: Any) -> Any:
    """Returns a random model of `MODELS`, whose configuration has some changes."""
    torch.manual_seed(0)
    kind, configuration, switches = MODELS[name]
    switches = switches | changes
    dtype = switches.pop("dtype", torch.float32)
    return randomized(kind(configuration(**switches))).to(dtype)


@pytest.mark.parametrize("name", list(MODELS))
def test_graphs_compute_what_the_model_computes(tmp_path: Path, name: str) -> None:
    differences = largest_differences(model_of(name), tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_the_output_bias_is_added(tmp_path: Path) -> None:
    model = model_of("BART, gelu")
    model.final_logits_bias.normal_()

    differences = largest_differences(model, tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_an_activation_that_is_not_known_is_named(tmp_path: Path) -> None:
    model_of("T5, relu, tied", feed_forward_proj="tanh").save_pretrained(tmp_path / "model")

    with pytest.raises(BadSource, match="'tanh' is not supported"):
        export_onnx(tmp_path / "model", tmp_path / "onnx", FloatCrossAttentionCache())


def test_a_configuration_that_leaves_out_defaults_gives_the_same_graphs(tmp_path: Path) -> None:
    largest_differences(model_of("T5, relu, tied", feed_forward_proj="gated-gelu"), tmp_path)
    config = read_json(tmp_path / "model" / "config.json")
    kept = {key: config[key] for key in (*T5_SHAPE, *FEW_BUCKETS, "model_type", "feed_forward_proj")}
    (tmp_path / "model" / "config.json").write_text(json.dumps(kept), encoding="utf-8")

    export_onnx(tmp_path / "model", tmp_path / "again", FloatCrossAttentionCache())

    for name in ("encoder.onnx", "decoder.onnx", "weights.data"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "onnx" / name).read_bytes()
