"""`import` from a folder and from a hub: weights, generation defaults and lengths, and what is refused."""

import contextlib
import json
import os
import re
import threading
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BartConfig, BartForConditionalGeneration

from slimseq.compression.artifacts.publish import write_model
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.importing.importing import ImportOptions, import_model
from slimseq.inference import Pipeline, load
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import Finished, compression
from tests.compression.tiny import tiny_context, tiny_import, tiny_model_folder
from tests.families import Family
from tests.hub import GATED, PULL_REQUEST, HubHandler, running_hub

TRANSLATION = ImportOptions(task=Task.TRANSLATION)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BART as a hub has it: config, safetensors and tokenizer."""
    return tiny_model_folder(Family.BART, tmp_path_factory.mktemp("hub") / "model")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return tiny_context(tmp_path)


def test_an_imported_folder_is_a_verified_hugging_face_folder(model_folder: Path, context: Context) -> None:
    from transformers import AutoModelForSeq2SeqLM

    manifest = import_model(context, str(model_folder), TRANSLATION)

    folder = context.store.folder(Task.TRANSLATION, "original")
    context.store.verify(Task.TRANSLATION, "original")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert model.num_parameters() == manifest.size.parameters
    assert manifest.languages == ["en", "de"]
    assert manifest.lineage[0].technique == "import"
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: slimseq")


@pytest.mark.parametrize("dtypes", [["float32"], ["float16"], ["bfloat16"], ["float32", "float16", "bfloat16"]])
def test_every_weight_keeps_its_bits_and_its_type(
    model_folder: Path, context: Context, tmp_path: Path, dtypes: list[str]
) -> None:
    torch.manual_seed(0)
    published = {
        name: (tensor.float() + torch.randn(tensor.shape) / 7).to(getattr(torch, dtype))
        for (name, tensor), dtype in zip(
            load_file(model_folder / "model.safetensors").items(), cycle(dtypes), strict=False
        )
    }
    source = Path(copytree(model_folder, tmp_path / "source"))
    save_file(published, source / "model.safetensors", metadata={"format": "pt"})

    import_model(context, str(source), replace(TRANSLATION, export=False))

    folder = context.store.folder(Task.TRANSLATION, "original")
    imported = load_file(folder / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in imported.items()} == {
        name: tensor.dtype for name, tensor in published.items()
    }
    assert all(torch.equal(imported[name], tensor) for name, tensor in published.items())
    assert json.loads((folder / "config.json").read_text())["dtype"] == dtypes[0]


def test_import_options_become_the_defaults(model_folder: Path, context: Context) -> None:
    options = ImportOptions(
        task=Task.SUMMARIZATION, variant="mine", prefix="tldr: ", num_beams=2, max_new_tokens=30, license="mit"
    )

    manifest = import_model(context, str(model_folder), options)

    assert (manifest.task, manifest.variant, manifest.license) == (Task.SUMMARIZATION, "mine", "mit")
    assert (manifest.generation.prefix, manifest.generation.num_beams) == ("tldr: ", 2)
    assert manifest.generation.max_new_tokens == 30


def with_lengths(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> Path:
    """Changes the lengths in a model folder's configurations. None removes a key."""
    for name, changes in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        content = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return folder


@pytest.mark.parametrize(
    ("family", "config", "tokenizer", "asked", "tokens", "said"),
    [
        pytest.param(
            Family.BART,
            {},
            {"model_max_length": None},
            None,
            64,
            "Inputs are read up to 64 tokens, as many as it has",
            id="the positions of a BART",
        ),
        pytest.param(
            Family.BART,
            {},
            {"model_max_length": 40},
            None,
            40,
            "up to 40 tokens, the length that its tokenizer names.",
            id="a tokenizer with a length below the positions",
        ),
        pytest.param(
            Family.BART,
            {},
            {},
            30,
            30,
            "Inputs are read up to 30 tokens, as given. The model is for inputs of 64 tokens",
            id="an option",
        ),
        pytest.param(
            Family.T5,
            {"n_positions": 1024},
            {"model_max_length": None},
            None,
            1024,
            "1,024 tokens, the length that it was",
            id="the length that a T5 was trained on",
        ),
        # transformers writes 10**30 for a tokenizer without a length.
        pytest.param(
            Family.T5,
            {"n_positions": None},
            {"model_max_length": 10**30},
            None,
            512,
            "the model's files name no length",
            id="no length",
        ),
        pytest.param(
            Family.T5,
            {},
            {"model_max_length": 100_000},
            None,
            16_384,
            "16,384 tokens, the most that is served. The model",
            id="a length above what is served",
        ),
    ],
)
def test_inputs_are_as_long_as_the_models_files_say_and_the_length_is_said(
    context: Context,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    family: Family,
    config: dict[str, Any],
    tokenizer: dict[str, Any],
    asked: int | None,
    tokens: int,
    said: str,
) -> None:
    folder = with_lengths(tiny_model_folder(family, tmp_path / "model"), config, tokenizer)

    manifest = import_model(context, str(folder), replace(TRANSLATION, export=False, max_input_tokens=asked))

    assert manifest.generation.max_input_tokens == tokens
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_input_tokens": 65}, "--max-input-tokens 65: this model has positions for 64"),
        ({"max_new_tokens": 64}, "--max-new-tokens 64: this model has positions for 63"),
    ],
)
def test_a_length_above_the_positions_is_refused(
    model_folder: Path, context: Context, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadParameters, match=said):
        import_model(context, str(model_folder), replace(TRANSLATION, export=False, **options))


def test_a_pipeline_truncates_where_an_import_does(tmp_path: Path) -> None:
    folder = with_lengths(
        tiny_model_folder(Family.T5, tmp_path / "model"), {"n_positions": 20}, {"model_max_length": None}
    )
    context = tiny_import(tmp_path, folder)
    opened = Pipeline("translation", load(context.store.folder(Task.TRANSLATION, "original")), folder, {})

    assert opened._max_length == 20
    assert opened.model.generator.max_input_tokens == 20
    opened.model.close()


def test_a_bart_gets_the_switches_that_converters_want(context: Context, tmp_path: Path) -> None:
    path = tiny_model_folder(Family.BART, tmp_path / "model") / "config.json"
    switches = {
        "normalize_before": False, "normalize_embedding": True, "add_final_layer_norm": False, "add_bias_logits": False,
    }  # fmt: skip
    config = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in config.items() if name not in switches}))

    import_model(context, str(path.parent), TRANSLATION)

    imported = json.loads((context.store.folder(Task.TRANSLATION, "original") / "config.json").read_text())
    assert switches.items() <= imported.items()


def test_another_architecture_is_refused(context: Context, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))

    with pytest.raises(BadSource, match="'gpt2' is not supported; Slimseq takes t5, mt5, umt5, bart"):
        import_model(context, str(tmp_path), TRANSLATION)


def test_pickled_weights_are_refused(model_folder: Path, context: Context, tmp_path: Path) -> None:
    for path in model_folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")

    with pytest.raises(BadSource, match="holds no safetensors; pickled weights are never read"):
        import_model(context, str(tmp_path), TRANSLATION)


def imported(folder: Path, source: str, *words: str, **environment: str) -> Finished:
    arguments = ("import", source, "--task", "translation", *words, "--store", folder / "store", "--json")
    return compression(*arguments, HF_HOME=str(folder / "home"), **environment)


def test_a_model_is_downloaded_from_a_hub(model_folder: Path, tmp_path: Path) -> None:
    with running_hub({"slimseq/tiny": model_folder}) as endpoint:
        done = imported(tmp_path, "slimseq/tiny", HF_ENDPOINT=endpoint)

        assert done.code == 0, done.error
        assert any(asked.endswith("model.safetensors") for asked in HubHandler.asked)
    assert done.json["lineage"][0]["parameters"]["source"] == "slimseq/tiny"
    Store(tmp_path / "store").verify(Task.TRANSLATION, "original")


def test_weights_that_are_only_pickled_come_from_the_pull_request_of_the_hubs_bot(
    model_folder: Path, tmp_path: Path
) -> None:
    pickled = copytree(model_folder, tmp_path / "pickled", ignore=ignore_patterns("*.safetensors"))
    (pickled / "pytorch_model.bin").write_bytes(b"a pickle")

    with running_hub({"slimseq/nllb": pickled, f"slimseq/nllb@{PULL_REQUEST}": model_folder}) as endpoint:
        done = imported(tmp_path, "slimseq/nllb", HF_ENDPOINT=endpoint)
        asked = list(HubHandler.asked)

    assert done.code == 0, done.error
    assert done.json["lineage"][0]["parameters"]["revision"] == PULL_REQUEST
    assert not any(each.endswith("pytorch_model.bin") for each in asked)


def test_an_import_holds_no_copy_of_the_weights(tmp_path: Path, context: Context) -> None:
    sizes: dict[str, Any] = {"d_model": 256, "encoder_ffn_dim": 8192, "decoder_ffn_dim": 8192, "vocab_size": 320}
    sizes |= {"encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    model = BartForConditionalGeneration(BartConfig(**sizes))
    tiny_model_folder(Family.BART, tmp_path / "model")
    write_model(model, tmp_path / "model")
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    del model
    before, highest = anonymous_bytes(), 0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not is_over.wait(0.002):
            highest = max(highest, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    import_model(context, str(tmp_path / "model"), TRANSLATION)
    is_over.set()
    watcher.join()

    # Of all weights, the largest tensor has a thirtieth. A copy of all weights would add at least `size`.
    assert size > 90e6
    assert highest - before < size / 3


def test_a_download_is_not_on_the_disk_twice(tmp_path: Path) -> None:
    folder = tiny_model_folder(Family.BART, tmp_path / "model")
    sizes: dict[str, Any] = {"d_model": 256, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "vocab_size": 320}
    sizes |= {"encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    BartForConditionalGeneration(BartConfig(**sizes)).save_pretrained(folder)
    size = (folder / "model.safetensors").stat().st_size
    places, highest, is_over = [tmp_path / name for name in ("store", "home", "temporary")], 0, threading.Event()
    (tmp_path / "temporary").mkdir()

    def watch() -> None:
        nonlocal highest
        while not is_over.wait(0.005):
            highest = max(highest, sum(map(held_bytes, places)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with running_hub({"slimseq/tiny": folder}) as endpoint:
        temporary = str(tmp_path / "temporary")
        done = imported(tmp_path, "slimseq/tiny", "--no-export", HF_ENDPOINT=endpoint, TMPDIR=temporary)
    is_over.set()
    watcher.join()

    assert done.code == 0, done.error
    assert 50e6 < size < highest < 1.2 * size
    assert (tmp_path / "store/translation/original/model.safetensors").read_bytes() == (
        folder / "model.safetensors"
    ).read_bytes()


def test_a_file_that_no_model_has_is_not_downloaded(model_folder: Path, tmp_path: Path) -> None:
    folder = Path(copytree(model_folder, tmp_path / "model"))
    (folder / "vocab.json").touch()
    os.truncate(folder / "vocab.json", 2**30)

    with running_hub({"slimseq/tiny": folder}) as endpoint:
        done = imported(tmp_path, "slimseq/tiny", HF_ENDPOINT=endpoint)
        asked = list(HubHandler.asked)

    assert done.code == 1
    assert "vocab.json has 1,073,741,824 bytes, and such a file has at most 134,217,728" in done.error
    assert not any(each.endswith("vocab.json") for each in asked)


def held_bytes(folder: Path) -> int:
    """Returns the bytes that a folder takes on the disk. Files may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += 512 * Path(parent, name).lstat().st_blocks
    return total


def anonymous_bytes() -> int:
    """Returns the bytes of this process's memory that are no mapped files."""
    found = re.search(r"^Anonymous:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


@pytest.mark.parametrize(
    ("source", "revision", "environment", "message"),
    [
        ("slimseq/absent", "main", {}, "slimseq/absent is neither a folder here nor a model on"),
        (GATED, "main", {}, "is gated: accept its terms on"),
        ("slimseq/tiny", "v9", {}, "has no revision 'v9'"),
        ("not//an id", "main", {}, "is neither a folder here nor a hub id such as google-t5/t5-small"),
        ("slimseq/tiny", "main", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids asking"),
        ("slimseq/tiny", "main", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 did not give it"),
    ],
)
def test_a_refusal_of_a_hub_is_one_line(
    model_folder: Path, tmp_path: Path, source: str, revision: str, environment: dict[str, str], message: str
) -> None:
    with running_hub({"slimseq/tiny": model_folder}) as endpoint:
        done = imported(tmp_path, source, "--revision", revision, **{"HF_ENDPOINT": endpoint} | environment)

    assert done.code == 1
    assert message in done.error
    assert len(done.error.splitlines()) == 1, done.error
    assert not (tmp_path / "store" / "translation").exists()
