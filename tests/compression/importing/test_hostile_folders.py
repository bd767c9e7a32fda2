"""Whatever a stranger's model folder holds, each door that takes it refuses it in one line, quickly and whole."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.step_keys import folder_digest
from slimseq.inference import pipeline
from slimseq.models_store.errors import BadSource
from tests.command_line import Finished, compression, invoked
from tests.compression.tiny import tiny_file, tiny_model_folder
from tests.families import Family

# Of commands that import torch, on a machine that does other things too. What they refuse would never end.
QUICK_SECONDS = 240


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model_folder(Family.BART, tmp_path / "model")


def steal(folder: Path) -> None:
    """Makes a vocabulary, which `import` copies as it is, a link to a file of the machine."""
    (folder / "vocab.json").unlink(missing_ok=True)
    (folder / "vocab.json").symlink_to("/etc/passwd")


def never_end(folder: Path) -> None:
    (folder / "vocab.json").unlink(missing_ok=True)
    (folder / "vocab.json").symlink_to("/dev/zero")


def wait_forever(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    os.mkfifo(folder / "generation_config.json")


def be_huge(folder: Path) -> None:
    os.truncate(folder / "vocab.json", 10 * 2**30)


def train_from(folder: Path, store: Path) -> Finished:
    arguments = ("train", "translation", "--from", folder, "--name", "taken", "--max-steps", 1)
    return invoked(*arguments, "--data", tiny_file(store.parent), "--store", store)


def import_it(folder: Path, store: Path) -> Finished:
    return invoked("import", folder, "--task", "translation", "--name", "taken", "--store", store)


def build_from(folder: Path, store: Path) -> Finished:
    tiny_file(store.parent)
    recipe: dict[str, Any] = {
        "name": "taken",
        "task": "translation",
        "base": {"import": str(folder)},
        "data": {"train": ["train.jsonl"]},
        "benchmark": False,
        "variants": {"quantized": {"steps": ["quantize"]}},
    }
    path = store.parent / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return invoked("build", path, "--store", store, "--build-folder", store.parent / "work")


@pytest.mark.parametrize("damage", [steal, never_end, wait_forever, be_huge])
@pytest.mark.parametrize("door", [import_it, train_from, build_from])
def test_a_folder_that_leads_elsewhere_is_refused_at_every_door(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None], door: Callable[[Path, Path], Finished]
) -> None:
    damage(folder)
    store, started = tmp_path / "store", time.monotonic()

    done = door(folder, store)

    assert done.code == 1
    last = done.error.splitlines()[-1]
    assert last.startswith("error: model/vocab.json cannot be imported: ") or "model/generation_config.json" in last
    assert not list(store.rglob("vocab.json"))
    assert time.monotonic() - started < QUICK_SECONDS


@pytest.mark.parametrize("damage", [steal, never_end, wait_forever])
def test_a_pipeline_refuses_such_a_folder_too(folder: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)

    with pytest.raises(BadSource, match=r"model/\w+\.json cannot be imported"):
        pipeline("summarization", folder, cache=tmp_path / "cache")
    with pytest.raises(BadSource, match=r"model/\w+\.json cannot be imported"):
        folder_digest(folder)


def test_an_index_that_names_a_file_elsewhere_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"model.shared.weight": "../other.safetensors"}})
    )
    (folder / "model-00001-of-00002.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes())

    done = import_it(folder, tmp_path / "store")

    assert done.code == 1
    assert "model.safetensors.index.json names '../other.safetensors', which is no file of the folder" in done.error


def test_an_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')

    done = import_it(folder, tmp_path / "store")

    assert done.code == 1
    assert "model has adapter_config.json: merge the adapter into its model first" in done.error


def changed(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def with_config(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / "config.json", **fields)


def with_tokenizer(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / "tokenizer.json", **fields)


def nest(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": ' * 200_000)


def backtracking(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (with_config(encoder_layers=10**9), "encoder_layers is 1000000000, not a whole number from 1 to 256"),
        (with_config(d_model=10**6), "d_model is 1000000, not a whole number from 1 to 16,384"),
        (with_config(vocab_size=10**12), "vocab_size is 1000000000000, not a whole number from 1 to 4,194,304"),
        (with_config(max_position_embeddings=-1), "max_position_embeddings is -1, not a whole number from 1 to 16,384"),
        (with_config(num_labels=10**9), "num_labels is 1000000000, not a whole number from 0 to 10,000"),
        (with_config(d_model=8192, encoder_ffn_dim=2**20), "parameters, and the safetensors hold"),
        (with_config(d_model=33), "embed_dim must be divisible by num_heads"),
        (with_config(task_specific_params="x"), "task_specific_params is 'x', not a table of tables"),
        (with_config(attn_implementation="somebody/kernel"), "attn_implementation is 'somebody/kernel', which is not"),
        (with_config(model_type=["bart"]), "model_type is a list of 1, not a text"),
        (nest, "config.json cannot be read: it is nested too deeply"),
        (
            with_tokenizer(pre_tokenizer=backtracking("(a+)+$")),
            "its pre_tokenizer has a regular expression that no known",
        ),
        (with_tokenizer(normalizer={"type": "Nope"}), "tokenizer.json cannot be read:"),
        (with_tokenizer(normalizer=[[[]]]), "tokenizer.json cannot be read:"),
        (with_tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "BAAAAA=="}), "tokenizer"),
    ],
)
def test_an_absurd_folder_is_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(folder)
    started = time.monotonic()

    done = compression("import", folder, "--task", "translation", "--no-export", "--store", tmp_path / "store")

    lines = [line for line in done.error.splitlines() if "elapsed" not in line]
    assert done.code == 1
    assert len(lines) == 1, done.error
    assert lines[0].startswith("error: "), done.error
    assert said in lines[0], done.error
    assert not list((tmp_path / "store").rglob("*.json"))
    assert time.monotonic() - started < QUICK_SECONDS
