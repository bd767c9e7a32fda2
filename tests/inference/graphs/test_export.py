"""Exported graphs under our own search give transformers' token ids, whatever the configuration's switches are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimseq.compression.artifacts.publish import publish_model
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import OnnxExporter, add_onnx
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.weights import Weights
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_artifact, tiny_context, tiny_model, tiny_tokenizer
from tests.families import Family

CONFIGURATIONS: dict[str, tuple[Family, dict[str, Any]]] = {
    "T5, relu, tied": (Family.T5, {"feed_forward_proj": "relu", "tie_word_embeddings": True}),
    "T5, gated-gelu, untied": (Family.T5, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "T5, pruned": (Family.T5, {"num_decoder_layers": 1, "d_ff": 20, "num_heads": 3, "d_kv": 5}),
    "BART": (Family.BART, {}),
    "BART, forced first token": (Family.BART, {"forced_bos_token_id": 0, "scale_embedding": False}),
    "BART, pruned": (Family.BART, {"decoder_attention_heads": 2, "encoder_ffn_dim": 20, "decoder_layers": 1}),
}
FOLLOWING = ("is_gated_act", "dense_act_fn")
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1},
    "beam 4": {"num_beams": 4, "length_penalty": 1.5, "no_repeat_ngram_size": 2, "min_new_tokens": 4},
}


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Context:
    family, switches = CONFIGURATIONS[request.param][0], dict(CONFIGURATIONS[request.param][1])
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
        # Both follow from `feed_forward_proj`, unless they are given.
        given = {name: value for name, value in config.to_dict().items() if name not in FOLLOWING}
        config = type(config)(**given)
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
    from slimseq.compression.artifacts.publish import Identity

    return Identity(**fields)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_token_ids_equal_those_of_transformers(context: Context, name: str) -> None:
    with (
        open_generator(context.store, Task.TRANSLATION, "original", "onnxruntime", threads=1) as ours,
        open_generator(context.store, Task.TRANSLATION, "original", "torch", threads=1) as reference,
    ):
        options = ours.manifest.generation.options(max_new_tokens=24, **SETTINGS[name])
        rows = [ours.encode(source).ids for source, _ in SENTENCES]

        found, wanted = (each.runtime.generate(rows, options) for each in (ours, reference))

        pad_id = read_configuration(context.store.folder(Task.TRANSLATION, "original")).pad_id
        assert unpadded(found, pad_id) == unpadded(wanted, pad_id)


def unpadded(sequences: list[GeneratedSequence], pad_id: int) -> list[GeneratedSequence]:
    """A random model may choose the padding's id, which at an end cannot be told from padding."""
    found = []
    for sequence in sequences:
        ids = list(sequence.ids)
        while ids and ids[-1] == pad_id:
            ids.pop()
        found.append(GeneratedSequence(ids, sequence.finish_reason))
    return found


def test_an_export_is_verified_with_its_artifact(context: Context) -> None:
    folder: Path = context.store.folder(Task.TRANSLATION, "original")

    context.store.verify(Task.TRANSLATION, "original")

    export = context.store.export_of(Task.TRANSLATION, "original", "onnx")
    assert export is not None
    assert {file.path for file in export.files} == {"encoder.onnx", "decoder.onnx", "weights.data"}
    assert (folder / "onnx" / "export.json").exists()
    assert export.exporter == "slimseq"


def test_the_embedding_is_stored_once(context: Context) -> None:
    folder = context.store.folder(Task.TRANSLATION, "original")
    table = Weights(folder).read(Weights(folder).first_of("shared.weight", "model.shared.weight"))

    stored = b"".join(path.read_bytes() for path in sorted((folder / "onnx").iterdir()))

    assert stored.count(table[:8].tobytes()) == 1
    assert stored.count(np.ascontiguousarray(table.T)[:8].tobytes()) == 0


def test_optimum_exports_too_where_it_is_chosen(tmp_path: Path) -> None:
    pytest.importorskip("optimum")
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)

    add_onnx(context, Task.TRANSLATION, "original", OnnxExporter.OPTIMUM)
    traced = greedy_ids(context)
    export = context.store.export_of(Task.TRANSLATION, "original", "onnx")
    add_onnx(context, Task.TRANSLATION, "original")

    assert export is not None and export.exporter == "optimum"
    assert traced == greedy_ids(context)


def greedy_ids(context: Context) -> list[list[int]]:
    with open_generator(context.store, Task.TRANSLATION, "original", "onnxruntime", threads=1) as generator:
        options = generator.manifest.generation.options(max_new_tokens=12)
        rows = [generator.encode(source).ids for source, _ in SENTENCES]
        return [sequence.ids for sequence in generator.runtime.generate(rows, options)]
