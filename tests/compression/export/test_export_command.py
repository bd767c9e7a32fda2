import sys
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from tests.command_line import invoked
from tests.compression.tiny import tiny_artifact, tiny_context
from tests.families import Family

TASK = Task.TRANSLATION


def test_an_exporter_can_be_chosen_and_its_graphs_serve_too(tmp_path: Path) -> None:
    pytest.importorskip("optimum")
    store = tiny_context(tmp_path).store
    tiny_artifact(tiny_context(tmp_path), Family.T5)
    written = []

    for exporter in ("optimum", "slimseq"):
        result = invoked("export", TASK.value, "original", "--exporter", exporter, "--store", store.root)
        assert result.code == 0, result.error
        export = store.export_of(TASK, "original", "onnx")
        assert export is not None
        assert export.exporter == exporter
        with open_generator(store, TASK, "original", "onnxruntime") as generator:
            options = generator.manifest.generation.options(max_new_tokens=8)
            written.append(generator.generate([generator.encode("The cat sleeps.", None)], options)[0].text)

    assert written[0] == written[1]


def test_an_exporter_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_context(tmp_path).store
    tiny_artifact(tiny_context(tmp_path), Family.T5)
    monkeypatch.setitem(sys.modules, "optimum.exporters.onnx", None)

    with pytest.raises(BadParameters, match=r"pip install .*\[compress,optimum\]'"):
        add_onnx(Context(store), TASK, "original", "optimum")

    assert store.export_of(TASK, "original", "onnx") is None
