"""A loaded model holds the tensors of its files, tied where the files tie them; else an error names the tensor."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BartConfig, BartForConditionalGeneration, BartModel, T5Config, T5ForConditionalGeneration

from slimseq.compression.artifacts.publish import write_model
from slimseq.inference.models.pretrained import is_output_tied, load_pretrained, untie_output
from slimseq.models_store.errors import BadSource
from tests.inference.graphs.stepwise import largest_differences, randomized
from tests.inference.graphs.test_related_models import BART_SHAPE, RELATED, T5_SHAPE

# Model and configuration of transformers, and the configuration's keys.
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "T5": (T5ForConditionalGeneration, T5Config, T5_SHAPE),
    "T5 1.1 and flan": (T5ForConditionalGeneration, T5Config, T5_SHAPE | {"feed_forward_proj": "gated-gelu"}),
    "BART": (BartForConditionalGeneration, BartConfig, BART_SHAPE),
    **{name: RELATED[name] for name in ("mT5", "mBART", "Marian", "PEGASUS")},
}
# transformers 4.
IS_OLD = transformers.__version__.startswith("4.")
Tensors = dict[str, torch.Tensor]


def hub_folder(name: str, is_tied: bool, folder: Path) -> Path:
    """Writes a model as hubs have it: an output matrix where it is not tied, and a configuration of transformers 4."""
    kind, configuration, switches = FAMILIES[name]
    torch.manual_seed(0)
    model = kind(configuration(**(switches | {"tie_word_embeddings": is_tied})))
    if not is_tied:
        untie_output(model)
    write_model(randomized(model).float(), folder)
    change_config(folder, tie_word_embeddings=is_tied, transformers_version="4.40.0")
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(folder: Path, change: Callable[[Tensors], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("name", "is_tied"), [*((name, True) for name in FAMILIES), ("T5", False), ("mT5", False), ("BART", False)]
)
def test_logits_of_our_graphs_are_those_of_transformers(tmp_path: Path, name: str, is_tied: bool) -> None:
    folder = hub_folder(name, is_tied, tmp_path / "model")
    if name == "mT5" and is_tied and not IS_OLD:
        with pytest.raises(BadSource, match=r"transformers 4\.40\.0 wrote this mt5, .* scales its outputs otherwise"):
            load_pretrained(folder, torch.float32)
        return
    model = load_pretrained(folder, torch.float32)

    differences = largest_differences(model, tmp_path)

    assert is_output_tied(model) == is_tied
    assert max(differences.values()) < 1e-4, differences


@pytest.mark.parametrize(("name", "switch"), [("T5", True), ("mT5", True), ("mT5", False), ("BART", True)])
def test_a_model_that_is_loaded_and_written_again_computes_the_same(tmp_path: Path, name: str, switch: bool) -> None:
    kind, configuration, switches = FAMILIES[name]
    model = randomized(kind(configuration(**(switches | {"tie_word_embeddings": switch}))).to(torch.bfloat16)).float()
    model.save_pretrained(tmp_path / "theirs")
    write_model(load_pretrained(tmp_path / "theirs", torch.float32), tmp_path / "model")

    again = load_pretrained(tmp_path / "model", torch.float32)

    ids = torch.arange(4, 24)[None]
    with torch.no_grad():
        assert torch.equal(*(each(input_ids=ids, decoder_input_ids=ids).logits for each in (model, again)))


def remove(name: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        del tensors[name]

    return change


def add(name: str, like: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: tensors[like] + 1})


@pytest.mark.parametrize(
    ("family", "is_tied", "change", "message"),
    [
        pytest.param("T5", False, remove("lm_head.weight"), "hold no lm_head.weight", id="a missing output matrix"),
        pytest.param(
            "T5",
            True,
            remove("decoder.final_layer_norm.weight"),
            "hold no decoder.final_layer_norm.weight, which a t5",
            id="missing",
        ),
        pytest.param(
            "BART",
            True,
            add("model.decoder.layers.2.fc1.weight", like="model.decoder.layers.1.fc1.weight"),
            "hold model.decoder.layers.2.fc1.weight, for which a bart has no place",
            id="unexpected",
        ),
        pytest.param(
            "Marian",
            True,
            lambda tensors: tensors.update({"model.encoder.layers.0.fc1.bias": torch.ones(3)}),
            "model.encoder.layers.0.fc1.bias has another shape than config.json says",
            id="of another shape",
        ),
        pytest.param(
            "T5",
            True,
            add("lm_head.weight", like="shared.weight"),
            "lm_head.weight has other values in the safetensors than encoder.embed_tokens.weight in the loaded t5",
            id="another output matrix though it is tied",
        ),
        pytest.param(
            "PEGASUS",
            True,
            add("model.encoder.embed_tokens.weight", like="model.shared.weight"),
            "embed_tokens.weight in the loaded pegasus",
            id="another token matrix though it is tied",
        ),
    ],
)
def test_a_tensor_that_is_not_in_its_place_is_named(
    tmp_path: Path, family: str, is_tied: bool, change: Callable[[Tensors], None], message: str
) -> None:
    folder = hub_folder(family, is_tied, tmp_path)
    change_tensors(folder, change)

    with pytest.raises(BadSource, match=message.replace(".", r"\.")):
        load_pretrained(folder, torch.float32)


def test_a_token_matrix_under_its_decoders_name_is_the_encoders_too(tmp_path: Path) -> None:
    folder = hub_folder("T5", False, tmp_path)
    change_tensors(
        folder, lambda tensors: tensors.update({"decoder.embed_tokens.weight": tensors.pop("shared.weight")})
    )

    model = load_pretrained(folder, torch.float32)

    stored = load_file(folder / "model.safetensors")["decoder.embed_tokens.weight"].float()
    assert torch.equal(model.get_parameter("encoder.embed_tokens.weight"), stored)


def test_a_release_that_ties_what_files_hold_apart_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hub_folder("T5", False, tmp_path)
    load = transformers.AutoModelForSeq2SeqLM.from_pretrained

    def wrong(*arguments: Any, **options: Any) -> Any:
        model, info = load(*arguments, **options)
        model.encoder.embed_tokens = torch.nn.Embedding.from_pretrained(model.lm_head.weight)  # type: ignore[no-untyped-call]
        return model, info

    monkeypatch.setattr(transformers.AutoModelForSeq2SeqLM, "from_pretrained", wrong)

    with pytest.raises(BadSource, match=r"shared\.weight has other values .* than encoder\.embed_tokens\.weight in"):
        load_pretrained(folder, torch.float32)


def test_old_files_with_a_version_tensor_and_without_an_output_layer_are_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BartModel(BartConfig(**BART_SHAPE))
    # Saved without its output layer, as some on the hub are.
    model.save_pretrained(tmp_path)
    change_tensors(tmp_path, lambda tensors: tensors.update({"encoder.version": torch.ones(1)}))

    loaded = load_pretrained(tmp_path, torch.float32)

    assert torch.equal(loaded.get_parameter("model.shared.weight"), model.get_parameter("shared.weight"))
