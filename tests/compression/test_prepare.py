from pathlib import Path

from compression.context import Context
from compression.prepare import prepare
from models_store.manifest import Family, Task
from tests.compression.tiny import tiny_artifact, tiny_context


def prepared(tmp_path: Path) -> Context:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    prepare(context)
    return context


def test_everything_missing_is_built_and_measured_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    context = prepared(tmp_path)

    assert context.store.has_format(Task.TRANSLATION, "original", "onnx")
    quality = context.store.manifest(Task.TRANSLATION, "quantized").quality
    assert {score.metric for score in quality} == {"bleu", "chrf"}
    assert all(score.dataset == "sample" and score.signature for score in quality)
    assert prepare(context) == []


def test_what_was_made_from_another_original_is_built_anew(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    (tmp_path / "other").mkdir()
    tiny_artifact(context, Family.T5, tmp_path / "other")

    done = prepare(context, measure=False)

    assert done == ["exported translation/original to ONNX", "quantized translation/original"]
    original = context.store.manifest(Task.TRANSLATION, "original")
    assert context.store.manifest(Task.TRANSLATION, "quantized").parent == original.digest


def test_what_was_damaged_is_built_anew(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    (context.store.folder(Task.TRANSLATION, "quantized") / "onnx" / "decoder.onnx").write_bytes(b"")

    done = prepare(context, measure=False)

    assert done == ["quantized translation/original"]
    context.store.verify(Task.TRANSLATION, "quantized")
