"""The store's record of derived artifacts, `derived.json`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.derived import as_recorded, read_derived, record_derived
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import FileEntry, Manifest, Size, Task, digest_of
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.app.serving import artifacts
from tests.app.serving.artifacts import variant_of

TRANSLATION = Task.TRANSLATION


def manifest(name: str, content: str, parent: Manifest | None = None) -> Manifest:
    """A manifest of one file, whose digest follows from `content`."""
    files = [FileEntry(path="model.safetensors", bytes=1, sha256=content * 64)]
    size = Size(parameters=1, nonzero_parameters=1)
    made: dict[str, Any] = {"files": files, "digest": digest_of(files), "size": size}
    return variant_of(parent, name, "quantize", **made) if parent else artifacts.manifest(variant=name, **made)


ORIGINAL = manifest("original", "0")
# The files that two kinds of CPU make.
ONE, OTHER = manifest("quantized", "1", ORIGINAL), manifest("quantized", "2", ORIGINAL)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.folder(TRANSLATION, "original").mkdir(parents=True)
    write_manifest(store.folder(TRANSLATION, "original"), ORIGINAL)
    return store


def test_manifests_are_recorded_by_digest_and_the_first_keeps_its_place(store: Store) -> None:
    measured = ONE.model_copy(update={"description": "Measured again."})
    record_derived(store.root, TRANSLATION, [ONE], [ORIGINAL])
    record_derived(store.root, TRANSLATION, [OTHER], [ORIGINAL])

    is_changed = record_derived(store.root, TRANSLATION, [measured], [ORIGINAL])

    assert is_changed
    assert read_derived(store.root, TRANSLATION) == [measured, OTHER]
    assert record_derived(store.root, TRANSLATION, [OTHER], [ORIGINAL]) is False


def test_manifests_of_a_source_that_was_replaced_leave_the_record(store: Store) -> None:
    record_derived(store.root, TRANSLATION, [ONE], [ORIGINAL])
    new = manifest("original", "3")
    derived = manifest("quantized", "4", new)

    record_derived(store.root, TRANSLATION, [derived], [new])

    assert read_derived(store.root, TRANSLATION) == [derived]


@pytest.mark.parametrize("built", [(), (OTHER,)])
def test_tables_are_of_the_first_recorded_bytes_whatever_this_machine_made(
    store: Store, built: tuple[Manifest, ...]
) -> None:
    record_derived(store.root, TRANSLATION, [ONE, OTHER], [ORIGINAL])

    found = as_recorded(store.root, [ORIGINAL, *built])

    assert found == [ORIGINAL, ONE]


def test_a_variant_that_was_made_from_something_else_is_not_taken_for_the_recorded_one(store: Store) -> None:
    record_derived(store.root, TRANSLATION, [ONE], [ORIGINAL])
    pruned = manifest("pruned", "5", ORIGINAL)
    other = manifest("quantized", "6", pruned)

    assert as_recorded(store.root, [ORIGINAL, pruned, other]) == [ORIGINAL, pruned, other]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "translation/derived.json cannot be read: the file: Invalid JSON"),
        ('{"manifests": [], "more": 1}', "cannot be read: more: is not a known field"),
        ('{"schema_version": 2, "manifests": []}', "cannot be read: schema_version: Input should be 1"),
    ],
)
def test_a_record_that_is_none_is_named(store: Store, content: str, complaint: str) -> None:
    (store.root / "translation" / "derived.json").write_text(content)

    with pytest.raises(InvalidArtifact, match=complaint):
        read_derived(store.root, TRANSLATION)


def test_a_record_of_another_task_is_refused(store: Store) -> None:
    record_derived(store.root, TRANSLATION, [ONE], [ORIGINAL])
    (store.root / "summarization").mkdir()
    shutil.copy(store.root / "translation" / "derived.json", store.root / "summarization")

    with pytest.raises(InvalidArtifact, match=r"summarization/derived\.json has a manifest of translation/quantized"):
        read_derived(store.root, Task.SUMMARIZATION)


def test_a_record_outside_of_the_store_is_not_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text(json.dumps({"manifests": []}))
    (store.root / "translation" / "derived.json").symlink_to(tmp_path / "outside.json")

    with pytest.raises(InvalidArtifact, match="is behind a link"):
        read_derived(store.root, TRANSLATION)


def test_every_recorded_int8_file_of_the_embedded_translator_is_calibrated() -> None:
    """Their bytes depend on the CPU: one kind of CPU had answers without a confidence."""
    recorded = read_derived(embedded_store(), TRANSLATION)

    assert [each.digest for each in recorded if each.confidence is None] == []
