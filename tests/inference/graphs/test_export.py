"""The files of an export, and what is stored in them."""

from pathlib import Path

import numpy as np
import pytest

from slimseq.compression.export.exporting import add_onnx
from slimseq.inference.models.safetensors_reader import SafetensorsReader
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_store
from tests.families import Family


@pytest.mark.parametrize("family", list(Family))
def test_an_export_is_recorded_and_verified_with_its_artifact(family: Family, tmp_path: Path) -> None:
    context = tiny_store(tmp_path, family)

    add_onnx(context, Task.TRANSLATION, "original")

    context.store.verify(Task.TRANSLATION, "original")
    export = context.store.export_of(Task.TRANSLATION, "original", "onnx")
    assert export is not None
    assert export.exporter == "slimseq"
    assert {file.path for file in export.files} == {"encoder.onnx", "decoder.onnx", "weights.data"}
    folder = context.store.folder(Task.TRANSLATION, "original")
    assert (folder / "onnx" / "export.json").exists()


@pytest.mark.parametrize("family", list(Family))
def test_an_export_stores_the_embedding_once(family: Family, tmp_path: Path) -> None:
    context = tiny_store(tmp_path, family)

    add_onnx(context, Task.TRANSLATION, "original")

    folder = context.store.folder(Task.TRANSLATION, "original")
    reader = SafetensorsReader(folder)
    name = reader.first_of("shared.weight", "model.shared.weight")
    table = reader.read(name)
    # Neither twice nor transposed.
    stored = b"".join(path.read_bytes() for path in sorted((folder / "onnx").iterdir()))
    assert stored.count(table[:8].tobytes()) == 1
    assert stored.count(np.ascontiguousarray(table.T)[:8].tobytes()) == 0
