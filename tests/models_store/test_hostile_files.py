"""Whoever can write to a store can keep an artifact of it from being served, and nothing else."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.inference import generator as opening
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.errors import CannotWrite, CorruptArtifact, InvalidArtifact
from slimseq.models_store.files import check_files, open_inside
from slimseq.models_store.manifest import FileEntry, Task
from slimseq.models_store.signing import sign
from slimseq.models_store.store import Entry, Store
from slimseq.models_store.trusted_keys import TrustedKeys
from tests.models_store.test_signing import keys

TRANSLATION = Task.TRANSLATION


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def lengthen_lineage(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"lineage": [{"technique": "prune"}] * 20_000}))


def test_a_file_of_holes_is_neither_read_nor_copied(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "translation" / "sparse"
    size = 2**40
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    os.truncate(folder / "model.safetensors", size)
    entry = FileEntry(path="model.safetensors", bytes=size, sha256="0" * 64)

    with pytest.raises(CorruptArtifact, match=r"model\.safetensors is sparse: 1099511627776 bytes, of which the disk"):
        check_files(folder, [entry], "translation/sparse", tmp_path / "store")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (make_pipe, "is not a regular file"),
        (lambda path: os.truncate(path, 200_000_000), "has more than 1,048,576 bytes"),
        (lengthen_lineage, "lineage: List should have at most 200 items"),
    ],
)
def test_a_manifest_that_would_stop_or_delay_a_scan_is_an_error(
    own_store: Store, damage: Callable[[Path], Any], said: str
) -> None:
    damage(own_store.folder(TRANSLATION, "quantized") / "manifest.json")
    started = time.process_time()

    entries = {(entry.task, entry.variant): entry for entry in own_store.scan()}

    assert said in str(entries[TRANSLATION, "quantized"].error)
    assert entries[TRANSLATION, "original"].manifest is not None
    assert time.process_time() - started < 1


def test_a_manifest_that_is_invalid_is_read_once(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lengthen_lineage(own_store.folder(TRANSLATION, "quantized") / "manifest.json")
    known = own_store.scan()
    monkeypatch.setattr("slimseq.models_store.store.read_manifest", lambda *_: pytest.fail("read again"))

    assert own_store.scan(known) == known


def test_a_signature_that_is_a_pipe_is_an_error(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(own_store, TRANSLATION, "quantized", private)
    make_pipe(own_store.folder(TRANSLATION, "quantized") / "model.sig")

    with pytest.raises(InvalidArtifact, match="is not a regular file"):
        Store(own_store.root, TrustedKeys.read([public])).manifest(TRANSLATION, "quantized")


def test_a_path_that_no_file_can_have_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    with (
        pytest.raises(InvalidArtifact, match="is no name of a file: embedded null byte"),
        open_inside(tmp_path / "artifact" / "a\0b", tmp_path, "translation/x"),
    ):
        pass


@pytest.mark.parametrize(("variant", "runtime"), [("quantized", "onnxruntime"), ("compact", "ctranslate2")])
def test_the_files_that_were_verified_are_the_files_that_are_opened(
    embedded: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, runtime: str
) -> None:
    store = Store(tmp_path)
    folder = shutil.copytree(embedded.folder(TRANSLATION, variant), store.folder(TRANSLATION, variant))
    large = tmp_path / "large"
    large.mkdir()
    [formats] = [path for path in (folder / "onnx", folder / "ctranslate2") if path.exists()]
    (formats / ".large").symlink_to(large)
    (formats / ".dangling").symlink_to(tmp_path / "absent")
    read = read_configuration

    def swap_and_read(place: Path) -> Any:
        """Runs after the files were verified and before the runtime opens them."""
        for path in formats.iterdir():
            if path.is_file():
                os.truncate(path, path.stat().st_size // 2)
        return read(place)

    monkeypatch.setattr(opening, "read_configuration", swap_and_read)
    with (
        open_generator(store, TRANSLATION, variant, runtime, 1) as swapped,
        open_generator(embedded, TRANSLATION, variant, runtime, 1) as whole,
    ):
        for options in ({}, {"do_sample": True, "num_beams": 1, "seed": 3}):
            chosen = whole.manifest.generation.options(**options)
            outputs = [each.generate([each.encode("The sun is shining.")], chosen) for each in (swapped, whole)]
            assert outputs[0] == outputs[1]
            assert outputs[0][0].text


def test_without_space_for_a_copy_nothing_is_opened(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = r"a copy of translation/quantized in the temporary folder \(TMPDIR\)"

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(CannotWrite, match=f"{refused} cannot be written: No space left"):
        open_generator(embedded, TRANSLATION, "quantized")
    monkeypatch.setattr("tempfile.tempdir", str(embedded.root / "absent"))
    with pytest.raises(CannotWrite, match=refused):
        open_generator(embedded, TRANSLATION, "quantized")


def test_a_store_that_is_slow_to_read_holds_no_request(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    catalogue = Catalogue(embedded, clock=lambda: clock[0])
    before = catalogue.entries()
    scan = embedded.scan

    def slow(known: list[Entry]) -> list[Entry]:
        time.sleep(0.5)
        return scan(known)[:1]

    monkeypatch.setattr(embedded, "scan", slow)
    clock[0] = 2.0
    started = time.perf_counter()
    during = [catalogue.entries() for _ in range(10)]
    seconds = time.perf_counter() - started
    time.sleep(0.8)

    assert during == [before] * 10
    assert seconds < 0.3
    assert len(catalogue.entries()) == 1
