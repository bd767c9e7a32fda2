"""Exported graphs under our own search give transformers' token ids, whatever the configuration's switches are."""

from pathlib import Path
from typing import Any

import pytest

from compression.context import Context
from compression.exporting import add_onnx
from compression.publish import publish_model
from models_store.generator import open_generator
from models_store.manifest import Family, Task
from tests.compression.tiny import SENTENCES, tiny_artifact, tiny_context, tiny_model, tiny_tokenizer

CONFIGURATIONS: dict[str, tuple[Family, dict[str, Any]]] = {
    "T5, relu, tied": (Family.T5, {"feed_forward_proj": "relu", "tie_word_embeddings": True}),
    "T5, gated-gelu, untied": (Family.T5, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "BART": (Family.BART, {}),
    "BART, forced first token": (Family.BART, {"forced_bos_token_id": 0, "scale_embedding": False}),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1},
    "beam 4": {"num_beams": 4, "length_penalty": 1.5, "no_repeat_ngram_size": 2, "min_new_tokens": 4},
}


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Context:
    family, switches = CONFIGURATIONS[request.param]
    folder = tmp_path_factory.mktemp("store")
    context = tiny_context(folder)
    manifest = tiny_artifact(context, family, folder)
    tokenizer = tiny_tokenizer(family, folder / "tokenizer")
    model: Any = tiny_model(family, tokenizer)
    config = model.config
    forced = switches.pop("forced_bos_token_id", None)
    for name, value in switches.items():
        setattr(config, name, value)
    if family is Family.T5:
        config = type(config)(**config.to_dict())
    model = type(model)(config).eval()
    model.generation_config.forced_bos_token_id = forced
    fields = {name: getattr(manifest, name) for name in IDENTITY}
    publish_model(context.store, model, tokenizer, identity_of(fields))
    add_onnx(context, Task.TRANSLATION, "original")
    return context


IDENTITY = (
    "task", "variant", "family", "languages", "license", "training_data", "description", "generation", "lineage",
)  # fmt: skip


def identity_of(fields: dict[str, Any]) -> Any:
    from compression.publish import Identity

    return Identity(**fields)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_token_ids_equal_those_of_transformers(context: Context, name: str) -> None:
    with (
        open_generator(context.store, Task.TRANSLATION, "original", "onnxruntime") as ours,
        open_generator(context.store, Task.TRANSLATION, "original", "torch") as reference,
    ):
        options = ours.manifest.generation.options(max_new_tokens=24, **SETTINGS[name])
        rows = [ours.encode(source).ids for source, _ in SENTENCES]

        assert ours.runtime.generate(rows, options) == reference.runtime.generate(rows, options)


def test_an_export_is_verified_with_its_artifact(context: Context) -> None:
    folder: Path = context.store.folder(Task.TRANSLATION, "original")

    context.store.verify(Task.TRANSLATION, "original")

    export = context.store.export_of(Task.TRANSLATION, "original", "onnx")
    assert export is not None
    assert {file.path for file in export.files} == {"encoder.onnx", "decoder.onnx", "weights.data"}
    assert (folder / "onnx" / "export.json").exists()
