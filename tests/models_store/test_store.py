"""The store: verification, atomic writes, and scans that read only what changed."""

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slimseq.models_store.errors import CorruptArtifact, InvalidArtifact, UnsafeArtifactPath
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store
from tests.damage import flip_bytes

TRANSLATION = Task.TRANSLATION


def copy_of(manifest: Manifest, variant: str) -> Manifest:
    return manifest.model_copy(update={"variant": variant})


def test_the_embedded_artifacts_verify(embedded: Store) -> None:
    for entry in embedded.scan():
        assert entry.error is None
        embedded.verify(entry.task, entry.variant)


@pytest.mark.parametrize("name", ["../original", "", ".hidden", "a/b"])
def test_a_name_that_would_leave_the_store_is_refused(embedded: Store, name: str) -> None:
    with pytest.raises(UnsafeArtifactPath):
        embedded.manifest(TRANSLATION, name)


@pytest.mark.parametrize(
    ("variant", "name", "damage", "said"),
    [
        ("quantized", "onnx/decoder.onnx", flip_bytes, "does not match its sha256"),
        ("quantized", "tokenizer.json", Path.unlink, "is missing"),
        ("original", "model.safetensors", lambda path: path.write_bytes(bytes(100)), "has 100 bytes instead of"),
        ("original", "onnx/encoder.onnx", flip_bytes, "does not match its sha256"),
    ],
)
def test_a_damaged_file_is_named(
    own_store: Store, variant: str, name: str, damage: Callable[[Path], object], said: str
) -> None:
    damage(own_store.folder(TRANSLATION, variant) / name)

    with pytest.raises(CorruptArtifact, match=re.escape(f"translation/{variant}: {name} {said}")):
        own_store.verify(TRANSLATION, variant)
    own_store.verify(TRANSLATION, "quantized" if variant == "original" else "original")


def test_verifying_one_format_leaves_the_others_unread(own_store: Store) -> None:
    flip_bytes(own_store.folder(TRANSLATION, "original") / "model.safetensors")

    own_store.verify(TRANSLATION, "original", only="onnx")
    with pytest.raises(CorruptArtifact, match=r"model\.safetensors"):
        own_store.verify(TRANSLATION, "original", only="safetensors")


def test_a_derived_format_of_another_artifact_is_refused(own_store: Store) -> None:
    export = own_store.folder(TRANSLATION, "original") / "onnx" / "export.json"
    manifest = own_store.manifest(TRANSLATION, "original")
    export.write_text(export.read_text().replace(manifest.digest, "sha256:" + "0" * 64))

    with pytest.raises(CorruptArtifact, match="was made from another artifact"):
        own_store.verify(TRANSLATION, "original", only="onnx")


def test_an_artifact_appears_only_when_its_writing_ended_well(own_store: Store) -> None:
    manifest = copy_of(own_store.manifest(TRANSLATION, "original"), "new")

    with own_store.writing(TRANSLATION, "new") as folder:
        assert "new" not in own_store.variants(TRANSLATION)
        write_manifest(folder, manifest)

    assert own_store.manifest(TRANSLATION, "new") == manifest


def test_an_artifact_without_a_manifest_is_never_published(own_store: Store) -> None:
    with pytest.raises(InvalidArtifact, match=r"manifest\.json"), own_store.writing(TRANSLATION, "new") as folder:
        (folder / "config.json").touch()

    assert "new" not in own_store.variants(TRANSLATION)


def test_measurements_are_added_to_a_manifest_but_files_never(own_store: Store) -> None:
    manifest = own_store.manifest(TRANSLATION, "original")

    own_store.rewrite_manifest(manifest.model_copy(update={"quality": []}))

    assert own_store.manifest(TRANSLATION, "original").quality == []
    other = own_store.manifest(TRANSLATION, "quantized")
    with pytest.raises(InvalidArtifact, match="changed on disk in the meantime"):
        own_store.rewrite_manifest(copy_of(other, "original"))


def test_a_later_scan_reads_only_the_manifests_that_have_changed(own_store: Store) -> None:
    known = own_store.scan()
    changed = own_store.folder(TRANSLATION, "quantized")
    write_manifest(changed, own_store.manifest(TRANSLATION, "quantized").model_copy(update={"license": "other"}))

    found = {(entry.task, entry.variant): entry for entry in own_store.scan(known)}
    for before in known:
        after = found[before.task, before.variant]
        assert (after.manifest is before.manifest) == (after.folder != changed)
    again = found[TRANSLATION, "quantized"].manifest
    assert again is not None
    assert again.license == "other"


def test_a_manifest_that_could_not_be_read_is_tried_again(own_store: Store) -> None:
    path = own_store.folder(TRANSLATION, "quantized") / "manifest.json"
    whole = path.read_bytes()
    path.unlink()
    path.mkdir()
    known = own_store.scan()
    assert [entry.variant for entry in known if entry.error] == ["quantized"]

    path.rmdir()
    path.write_bytes(whole)
    assert not [entry for entry in own_store.scan(known) if entry.error]


def test_where_the_system_refuses_a_rename_an_artifact_is_replaced_too(
    own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As overlayfs does for artifacts in a lower layer of an image."""
    final = own_store.folder(Task.TRANSLATION, "original")
    rename = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if path == final:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    with own_store.writing(Task.TRANSLATION, "original") as folder:
        shutil.copytree(final, folder, dirs_exist_ok=True)
        (folder / "README.md").write_text("new", encoding="utf-8")

    assert (final / "README.md").read_text(encoding="utf-8") == "new"
    assert not [path for path in final.parent.iterdir() if path.name.startswith(".")]
    own_store.verify(Task.TRANSLATION, "original")
