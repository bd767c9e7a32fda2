from pathlib import Path

from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Family, Task
from tests.command_line import invoked
from tests.compression.tiny import tiny_artifact, tiny_context

TASK = Task.TRANSLATION


def test_an_exporter_can_be_chosen_and_what_it_writes_serves_alike(tmp_path: Path) -> None:
    store = tiny_context(tmp_path).store
    tiny_artifact(tiny_context(tmp_path), Family.T5, tmp_path)
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


def test_an_exporter_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = invoked("export", TASK.value, "original", "--exporter", "none", "--store", tmp_path)

    assert result.code == 1
    assert "slimseq" in result.error
