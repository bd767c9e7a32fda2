"""Exported to CTranslate2, models of whatever switches and shapes give transformers' token ids under greedy search."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from slimseq.compression.artifacts.publish import Identity, publish_model
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.ctranslate2_converter import export_ctranslate2, vocabulary_of
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.compression.quantize.quantize import quantize
from slimseq.inference.generator import open_generator
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Task
from tests.compression.language_models import spread
from tests.compression.tiny import SENTENCES, tiny_model, tiny_store, tiny_tokenizer
from tests.families import Family

CONFIGURATIONS: dict[str, tuple[Family, dict[str, Any]]] = {
    "T5, relu, tied": (Family.T5, {"feed_forward_proj": "relu", "tie_word_embeddings": True}),
    "T5, gated-gelu, untied": (Family.T5, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "T5, pruned: half of the heads, as wide as before": (Family.T5, {"num_heads": 2, "d_kv": 8, "d_ff": 40}),
    "T5, more layers in one stack": (Family.T5, {"num_layers": 3, "num_decoder_layers": 1}),
    "BART": (Family.BART, {}),
    "BART, forced first token": (Family.BART, {"forced_bos_token_id": 0, "scale_embedding": False}),
    "BART, pruned: three heads and narrower": (
        Family.BART,
        {"d_model": 24, "encoder_attention_heads": 3, "decoder_attention_heads": 3, "encoder_ffn_dim": 40},
    ),
    "BART, other heads in each stack": (Family.BART, {"encoder_attention_heads": 2, "decoder_attention_heads": 8}),
    "BART, a bias for each token": (Family.BART, {"final_logits_bias": True}),
}


def publish(context: Context, model: PreTrainedModel, tokenizer: Path, variant: str = "original") -> None:
    """Publishes a model as the original is published."""
    parent = context.store.manifest(Task.TRANSLATION, "original")
    identity = {name: getattr(parent, name) for name in Identity.__dataclass_fields__}
    publish_model(context.store, model, tokenizer, Identity(**identity | {"variant": variant}))


def random_model(family: Family, tokenizer: Path, switches: dict[str, Any]) -> PreTrainedModel:
    """A model with these switches, and matrices large enough for outputs that differ by input."""
    model: Any = tiny_model(family, tokenizer)
    switches = dict(switches)
    forced, has_bias = switches.pop("forced_bos_token_id", None), switches.pop("final_logits_bias", False)
    torch.manual_seed(3)
    model = type(model)(type(model.config)(**(model.config.to_dict() | switches)))
    spread(model)
    model.generation_config.forced_bos_token_id = forced
    if has_bias:
        model.final_logits_bias.normal_()
    return model  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Context:
    family, switches = CONFIGURATIONS[request.param]
    folder = tmp_path_factory.mktemp("store")
    context = tiny_store(folder, family)
    tokenizer = tiny_tokenizer(family, folder / "tokenizer")
    publish(context, random_model(family, tokenizer, switches), tokenizer)
    add_ctranslate2(context, Task.TRANSLATION, "original")
    return context


def test_token_ids_equal_those_of_transformers(context: Context) -> None:
    with (
        open_generator(context.store, Task.TRANSLATION, "original", "ctranslate2") as ours,
        open_generator(context.store, Task.TRANSLATION, "original", "torch") as reference,
    ):
        options = ours.manifest.generation.options(max_new_tokens=24, no_repeat_ngram_size=2)
        rows = [ours.encode(source).ids for source, _ in SENTENCES]

        outputs = ours.runtime.generate(rows, options)

        assert outputs == reference.runtime.generate(rows, options)
        assert len({tuple(output.ids) for output in outputs}) > 1


@pytest.mark.parametrize("family", list(Family))
def test_an_export_is_verified_with_its_artifact_and_int8_is_a_quarter_of_float32(
    family: Family, tmp_path: Path
) -> None:
    context = tiny_store(tmp_path, family)
    digest = context.store.manifest(Task.TRANSLATION, "original").digest

    add_ctranslate2(context, Task.TRANSLATION, "original", "int8")

    context.store.verify(Task.TRANSLATION, "original")
    export = context.store.export_of(Task.TRANSLATION, "original", "ctranslate2")
    assert export is not None
    assert export.source == digest
    assert export.exporter == "ctranslate2-int8"
    assert {file.path for file in export.files} == {"model.bin", "config.json", "shared_vocabulary.json"}
    assert context.store.manifest(Task.TRANSLATION, "original").digest == digest
    folder = context.store.folder(Task.TRANSLATION, "original")
    export_ctranslate2(folder, tmp_path / "float32")
    small, large = (
        path.stat().st_size for path in (folder / "ctranslate2" / "model.bin", tmp_path / "float32" / "model.bin")
    )
    assert small < large * 0.45  # at this width, norms, biases, positions and scales are a good part


def test_rows_beyond_the_tokenizer_get_names_of_their_own(tmp_path: Path) -> None:
    folder = tiny_tokenizer(Family.T5, tmp_path)

    tokens = vocabulary_of(folder, 1000)

    assert len(tokens) == 1000
    assert len(set(tokens)) == 1000
    assert tokens[999] == "<unused 999>"


def test_a_model_that_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    quantize(context, Task.TRANSLATION, "original")
    tokenizer = tiny_tokenizer(Family.BART, tmp_path / "tokenizer")
    publish(context, random_model(Family.BART, tokenizer, {"activation_function": "quick_gelu"}), tokenizer, "odd")

    with pytest.raises(BadParameters, match="has no safetensors to export from"):
        add_ctranslate2(context, Task.TRANSLATION, "quantized")
    with pytest.raises(BadSource, match="no activation 'quick_gelu'"):
        add_ctranslate2(context, Task.TRANSLATION, "odd")
