"""An open artifact: its prefix, its graphs, and which runtimes can open it."""

import shutil

import pytest

from slimseq.inference.generator import TextGenerator, open_generator, runtimes_for
from slimseq.inference.graphs.on_demand import GRAPHS
from slimseq.inference.graphs.tensor_names import CONTRACT
from slimseq.models_store.errors import RuntimeUnavailable
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


def test_the_prefix_of_the_artifact_is_put_before_the_text_unless_another_is_given(summarizer: TextGenerator) -> None:
    plain = summarizer.encode("summarize: Rain fell.", prefix="")

    assert summarizer.encode("Rain fell.").ids == plain.ids
    assert summarizer.encode("Rain fell.", prefix="headline: ").ids != plain.ids


def test_graphs_that_were_built_for_another_engine_are_built_anew(own_store: Store) -> None:
    record = own_store.folder(Task.TRANSLATION, "original") / "onnx" / "export.json"
    before = record.read_text()
    record.write_text(before.replace(f'"{GRAPHS}": "{CONTRACT}"', f'"{GRAPHS}": "0"'))
    assert record.read_text() != before, "the record has no contract to replace"

    with open_generator(own_store, Task.TRANSLATION, "original", "onnxruntime"):
        export = own_store.export_of(Task.TRANSLATION, "original", "onnx")

    assert export is not None
    assert export.versions[GRAPHS] == CONTRACT


def test_a_runtime_that_cannot_open_the_artifact_is_refused_with_a_hint(embedded: Store, own_store: Store) -> None:
    # `prepare` makes these files where CTranslate2 was measured to be the fastest on this kind of CPU.
    shutil.rmtree(own_store.folder(Task.TRANSLATION, "original") / "ctranslate2", ignore_errors=True)
    with pytest.raises(RuntimeUnavailable, match="has no safetensors files; onnxruntime can open it"):
        runtimes_for(embedded, embedded.manifest(Task.TRANSLATION, "quantized"), "torch")
    with pytest.raises(RuntimeUnavailable, match="export translation original --format ctranslate2 --store STORE`"):
        runtimes_for(own_store, own_store.manifest(Task.TRANSLATION, "original"), "ctranslate2")
    student = own_store.manifest(Task.TRANSLATION, "original").model_copy(update={"family": "marian-student"})
    with pytest.raises(RuntimeUnavailable, match=r"recurrent layers \(SSRU\); onnxruntime and torch can open it"):
        runtimes_for(own_store, student, "ctranslate2")
    with pytest.raises(RuntimeUnavailable, match="known are onnxruntime, torch"):
        runtimes_for(embedded, embedded.manifest(Task.TRANSLATION, "quantized"), "tensorrt")
