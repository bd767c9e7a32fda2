"""A manifest is checked for what it lists and for where it lies; what it does not list is not opened."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimseq.inference.generator import open_generator
from slimseq.models_store.errors import CorruptArtifact, InvalidArtifact
from slimseq.models_store.manifest import FileEntry, Task, digest_of
from slimseq.models_store.store import Store

TRANSLATION = Task.TRANSLATION


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a record, and makes its digest that of its files where it has one."""
    content = json.loads(path.read_text())
    change(content)
    if "digest" in content:
        content["digest"] = digest_of([FileEntry(**file) for file in content["files"]])
    path.write_text(json.dumps(content))


def unlist(content: dict[str, Any], *names: str) -> None:
    content["files"] = [file for file in content["files"] if file["path"] not in names]


def manifest_path(store: Store, variant: str) -> Path:
    return store.folder(TRANSLATION, variant) / "manifest.json"


def test_a_manifest_that_lists_no_files_is_refused(own_store: Store) -> None:
    edit(manifest_path(own_store, "quantized"), lambda content: content.update(files=[]))

    with pytest.raises(InvalidArtifact, match=r"quantized/manifest\.json cannot be read: .*lists no files"):
        open_generator(own_store, TRANSLATION, "quantized")


@pytest.mark.parametrize("change", [{"variant": "other"}, {"task": "summarization"}])
def test_a_manifest_of_another_place_is_refused(own_store: Store, change: dict[str, str]) -> None:
    edit(manifest_path(own_store, "quantized"), lambda content: content.update(change))

    with pytest.raises(InvalidArtifact, match=r"is in translation/quantized; move the artifact to"):
        own_store.manifest(TRANSLATION, "quantized")
    entries = {(entry.task, entry.variant): entry for entry in own_store.scan()}
    assert isinstance(entries[TRANSLATION, "quantized"].error, InvalidArtifact)
    assert entries[TRANSLATION, "original"].error is None


@pytest.mark.parametrize(
    ("variant", "name", "said"),
    [
        ("quantized", "onnx/decoder.onnx", "has the format onnx but does not list onnx/decoder.onnx"),
        ("quantized", "tokenizer.json", "has the format onnx but does not list tokenizer.json"),
        ("original", "config.json", "has the format safetensors but does not list config.json"),
        ("original", "model.safetensors", "has the format safetensors but does not list a .safetensors file"),
    ],
)
def test_a_manifest_lists_what_its_format_needs(own_store: Store, variant: str, name: str, said: str) -> None:
    edit(manifest_path(own_store, variant), lambda content: unlist(content, name))

    with pytest.raises(InvalidArtifact, match=said):
        own_store.manifest(TRANSLATION, variant)


def test_a_manifest_lists_the_vocabulary_of_ctranslate2(embedded: Store, tmp_path: Path) -> None:
    store = Store(tmp_path)
    shutil.copytree(embedded.folder(TRANSLATION, "compact"), store.folder(TRANSLATION, "compact"))
    edit(
        manifest_path(store, "compact"),
        lambda content: unlist(content, "ctranslate2/shared_vocabulary.json", "ctranslate2/config.json"),
    )

    with pytest.raises(InvalidArtifact, match=r"ctranslate2/shared_vocabulary\.json, ctranslate2/config\.json"):
        store.manifest(TRANSLATION, "compact")


def test_an_export_lists_what_its_format_needs(own_store: Store) -> None:
    record = own_store.folder(TRANSLATION, "original") / "onnx" / "export.json"
    edit(record, lambda content: unlist(content, "encoder.onnx"))

    with pytest.raises(InvalidArtifact, match=r"onnx/export\.json does not list encoder\.onnx"):
        own_store.verify(TRANSLATION, "original")


@pytest.mark.parametrize(
    "name", ["added_tokens.json", "adapter_config.json", "spiece.model", "vocab.txt", "onnx/weights.data", "onnx/a/b"]
)
def test_a_file_that_a_runtime_would_read_and_that_is_not_listed_is_named(own_store: Store, name: str) -> None:
    path = own_store.folder(TRANSLATION, "quantized") / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")

    with pytest.raises(CorruptArtifact, match=f"translation/quantized: {name} is not in its list of files"):
        open_generator(own_store, TRANSLATION, "quantized")


def test_an_unlisted_file_in_the_folder_of_an_export_is_named(own_store: Store) -> None:
    (own_store.folder(TRANSLATION, "original") / "onnx" / "more.data").touch()

    with pytest.raises(CorruptArtifact, match=r"onnx/more\.data is not in its list of files"):
        open_generator(own_store, TRANSLATION, "original", "onnxruntime")


def test_weights_that_are_not_listed_are_named_to_whoever_reads_weights(own_store: Store) -> None:
    (own_store.folder(TRANSLATION, "original") / "more.safetensors").touch()

    own_store.verify(TRANSLATION, "original", only="onnx")
    with pytest.raises(CorruptArtifact, match=r"more\.safetensors is not in its list of files"):
        own_store.verify(TRANSLATION, "original", only="safetensors")


def test_notes_and_hidden_files_beside_an_artifact_harm_nothing(own_store: Store) -> None:
    folder = own_store.folder(TRANSLATION, "quantized")
    for name in ("notes.txt", ".DS_Store", "onnx/.DS_Store", "README.md", "model.sig"):
        (folder / name).write_text("notes")

    own_store.verify(TRANSLATION, "quantized")


def test_a_link_out_of_the_store_is_refused_wherever_it_is(own_store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for inside in ("translation/quantized", "translation", "translation/quantized/onnx"):
        shutil.rmtree(outside, ignore_errors=True)
        shutil.move(own_store.root / inside, outside)
        (own_store.root / inside).symlink_to(outside)

        with pytest.raises(InvalidArtifact, match=r"translation/quantized: .* is behind a link"):
            open_generator(own_store, TRANSLATION, "quantized")

        (own_store.root / inside).unlink()
        shutil.move(outside, own_store.root / inside)
    open_generator(own_store, TRANSLATION, "quantized").close()


@pytest.mark.parametrize("name", ["tokenizer.json", "onnx/decoder.onnx", "manifest.json"])
def test_a_listed_file_that_is_a_link_out_of_the_store_is_refused(own_store: Store, tmp_path: Path, name: str) -> None:
    path = own_store.folder(TRANSLATION, "quantized") / name
    shutil.move(path, tmp_path / "file")
    path.symlink_to(tmp_path / "file")

    with pytest.raises(InvalidArtifact, match=f"translation/quantized/{name} is behind a link"):
        open_generator(own_store, TRANSLATION, "quantized")


def test_an_artifact_that_becomes_a_link_later_is_refused_by_a_later_scan(own_store: Store, tmp_path: Path) -> None:
    known = own_store.scan()
    folder = own_store.folder(TRANSLATION, "quantized")
    shutil.move(folder, tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")

    entries = {(entry.task, entry.variant): entry for entry in own_store.scan(known)}

    assert isinstance(entries[TRANSLATION, "quantized"].error, InvalidArtifact)


def test_the_store_itself_may_be_a_link_and_no_file_in_it(own_store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(own_store.root)
    Store(tmp_path / "link").verify(TRANSLATION, "quantized")
    first, second = (own_store.folder(TRANSLATION, name) / "vocab.json" for name in ("original", "quantized"))
    second.unlink()
    second.symlink_to(first)

    with pytest.raises(InvalidArtifact, match=r"translation/quantized/vocab\.json is behind a link"):
        own_store.verify(TRANSLATION, "quantized")


def test_nothing_is_written_through_a_link_out_of_the_store(own_store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    shutil.rmtree(own_store.root / "translation")
    (own_store.root / "translation").symlink_to(tmp_path / "outside")

    with pytest.raises(InvalidArtifact, match="is behind a link"), own_store.writing(TRANSLATION, "new"):
        pass

    assert not list((tmp_path / "outside").iterdir())
