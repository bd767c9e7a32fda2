"""An open artifact: its prefix, its graphs, and which runtimes can open it.

`CONTRACT` is the version of the graphs' inputs and outputs on which the graph builder and the engine agree. The record
of an export, `export.json`, has it under the key `GRAPHS`.
"""

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


def test_graphs_of_another_contract_version_are_built_anew(own_store: Store) -> None:
    record = own_store.folder(Task.TRANSLATION, "original") / "onnx" / "export.json"
    before = record.read_text()
    record.write_text(before.replace(f'"{GRAPHS}": "{CONTRACT}"', f'"{GRAPHS}": "0"'))
    assert record.read_text() != before, "the record has no contract to replace"

    with open_generator(own_store, Task.TRANSLATION, "original", "onnxruntime"):
        export = own_store.export_of(Task.TRANSLATION, "original", "onnx")

    assert export is not None
    assert export.versions[GRAPHS] == CONTRACT


@pytest.mark.parametrize(
    ("variant", "family", "runtime", "hint"),
    [
        pytest.param(
            "quantized",
            "bart",
            "torch",
            "has no safetensors files; onnxruntime can open it",
            id="files of another format",
        ),
        pytest.param(
            "original",
            "bart",
            "ctranslate2",
            "export translation original --format ctranslate2 --store STORE",
            id="files that an export would make",
        ),
        pytest.param(
            "original",
            "marian-student",
            "ctranslate2",
            r"recurrent layers \(SSRU\); onnxruntime and torch can open it",
            id="layers that the runtime does not have",
        ),
        pytest.param("quantized", "bart", "tensorrt", "known are onnxruntime, torch", id="unknown runtime"),
    ],
)
def test_a_runtime_that_cannot_open_the_artifact_is_refused_with_a_hint(
    own_store: Store, variant: str, family: str, runtime: str, hint: str
) -> None:
    # `prepare` makes these files where CTranslate2 was measured to be the fastest on this kind of CPU.
    shutil.rmtree(own_store.folder(Task.TRANSLATION, "original") / "ctranslate2", ignore_errors=True)
    manifest = own_store.manifest(Task.TRANSLATION, variant).model_copy(update={"family": family})

    with pytest.raises(RuntimeUnavailable, match=hint):
        runtimes_for(own_store, manifest, runtime)
