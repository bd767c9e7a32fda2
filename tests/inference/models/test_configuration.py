"""A configuration is read as transformers reads it, and odd values are refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimseq.inference.models.bounds import INTEGERS
from slimseq.inference.models.configuration import (
    longest_input,
    read_config,
    read_configuration,
    read_generation_config,
    read_json,
)
from slimseq.models_store.errors import InvalidArtifact, SlimseqError


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": 10}))

    with pytest.raises(InvalidArtifact, match=r"model_type 'gpt2' is not one of t5, .*, marian-student, pegasus"):
        read_configuration(tmp_path)


def test_a_missing_id_is_named(tmp_path: Path) -> None:
    config = {"model_type": "t5", "vocab_size": 10, "num_layers": 1, "pad_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(InvalidArtifact, match="name no eos_token_id"):
        read_configuration(tmp_path)


@pytest.mark.parametrize(
    ("config", "tokenizer", "tokens", "reason"),
    [
        ({"model_type": "bart", "max_position_embeddings": 1024}, {}, 1024, "as many as it has positions"),
        # What transformers takes where the file says nothing.
        ({"model_type": "bart"}, {}, 1024, "as many as it has positions"),
        ({"model_type": "bart"}, {"model_max_length": 512}, 512, "the length that its tokenizer names"),
        ({"model_type": "bart"}, {"model_max_length": 4096}, 1024, "as many as it has positions"),
        ({"model_type": "marian", "max_position_embeddings": 512}, {"model_max_length": 512}, 512, "positions"),
        ({"model_type": "pegasus", "max_position_embeddings": 512}, {"model_max_length": 10**30}, 512, "positions"),
        ({"model_type": "t5", "n_positions": 512}, {}, 512, "the length that it was trained with"),
        ({"model_type": "t5", "n_positions": 512}, {"model_max_length": 1024}, 1024, "its tokenizer names"),
        ({"model_type": "t5"}, {"model_max_length": 10**30}, None, ""),
        ({"model_type": "mt5"}, {"model_max_length": "many"}, None, ""),
        ({"model_type": "mt5"}, {"model_max_length": True}, None, ""),
    ],
)
def test_the_length_of_inputs_is_what_the_models_files_say(
    config: dict[str, Any], tokenizer: dict[str, Any], tokens: int | None, reason: str
) -> None:
    found, why = longest_input(config, tokenizer)

    assert found == tokens
    assert reason in why


VALID = {
    "model_type": "bart",
    "vocab_size": 320,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "d_model": 32,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_bos_token_id": None,
    "task_specific_params": {"summarization": {"max_length": 60, "prefix": "summarize: "}},
    "bad_words_ids": [[3], [4, 5]],
    "suppress_tokens": [6],
    "activation_scales": {"model.encoder.layers.0.fc1": 0.5},
}
# Values of all types, out of bounds, or of a type that hardly a field has.
ODD = [
    *(True, -1, 0, 1.5, 1e308, 10**9, 10**18, 10**30, "", "x", "\ud800", "1" * 100),
    *([], {}, [[]], [None], {"a": {}}, [10**9], [-1], ["x"], {"summarization": {"max_length": "x"}}, {"a": 1}),
]
READERS: list[Callable[[Path], Any]] = [
    read_configuration,
    lambda folder: longest_input(read_config(folder), read_generation_config(folder, {})),
]


def test_only_our_own_errors_come_out_of_reading_odd_fields(tmp_path: Path) -> None:
    refused: list[str] = []
    for name in ("config.json", "generation_config.json"):
        for field in dict.fromkeys([*VALID, *INTEGERS, "prefix", "length_penalty", "model_max_length"]):
            for value in ODD:
                (tmp_path / "config.json").write_text(json.dumps(VALID))
                (tmp_path / name).write_text(json.dumps(VALID | {field: value}))
                for read in READERS:
                    try:
                        read(tmp_path)
                    except SlimseqError as error:
                        refused.append(str(error))

    assert len(refused) > 1000, "most of these values must be refused"
    assert all(len(each.splitlines()) == 1 and len(each) < 300 for each in refused)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": ' * 200_000, "is nested too deeply"),
        ("[" * 200_000, "is nested too deeply"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number of JSON"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
        ("[]", "is not a JSON object"),
        ("", "cannot be read"),
    ],
)
def test_what_is_no_json_object_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(InvalidArtifact, match=said) as refused:
        read_json(tmp_path / "config.json")

    assert len(str(refused.value).splitlines()) == 1


def test_an_escaped_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": "\\ud83d\\ude00"}')

    assert read_json(tmp_path / "config.json") == {"a": "\U0001f600"}
