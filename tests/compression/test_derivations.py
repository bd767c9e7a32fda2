"""`prepare` makes int8 variants as the store's record says, and never replaces an artifact of the user."""

import functools
import shutil
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.prepare import prepare, record_int8_variants
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.evaluation.host import has_vnni
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Manifest, Task, Verdict
from tests.command_line import compression
from tests.compression.prepared_store import prepared
from tests.compression.tiny import MADE, tiny_artifact, tiny_context, tiny_file, tiny_store
from tests.damage import contents
from tests.families import Family
from tests.measured import amend, performance, score


@functools.cache
def _recorded() -> Path:
    context = prepared(Path(MADE.name, "recorded"), measure=True)
    gate, measured = Verdict(status="passed", checks=[]), [score(12.5, dataset="news")]
    amend(context.store, "quantized", quality=measured, performance=[performance(100)], gate=gate)
    done = compression("prepare", "--record", "--store", context.store.root, "--json")
    assert (done.code, done.json) == (0, ["recorded quantized in translation/derived.json"]), done.error
    return context.store.root


def recorded_store(folder: Path) -> tuple[Context, Manifest]:
    """A store whose record has the measured manifest of `quantized`."""
    context = tiny_context(folder)
    shutil.copytree(_recorded(), context.store.root)
    return context, context.store.manifest(Task.TRANSLATION, "quantized")


def record_with_other_bytes(context: Context, parent: str, name: str) -> Manifest:
    """Records a variant with the bytes of a CPU of the other kind, and removes the variant itself."""
    quantize(context, Task.TRANSLATION, parent, name, QuantizeOptions(reduce_range=has_vnni()))
    manifest = amend(context.store, name, performance=[performance(100)])
    record_int8_variants(context)
    shutil.rmtree(context.store.folder(Task.TRANSLATION, name))
    return manifest


def test_the_bytes_that_are_recorded_have_the_recorded_measurements(tmp_path: Path) -> None:
    context, recorded = recorded_store(tmp_path)
    before = (context.store.root / "translation" / "derived.json").read_bytes()
    shutil.rmtree(context.store.folder(Task.TRANSLATION, "quantized"))

    prepare(context)

    assert context.store.manifest(Task.TRANSLATION, "quantized") == recorded
    assert "news (test)" in (context.store.folder(Task.TRANSLATION, "quantized") / "README.md").read_text()
    assert (context.store.root / "translation" / "derived.json").read_bytes() == before
    assert record_int8_variants(context) == []


def test_other_bytes_are_made_as_recorded_and_measured_on_the_sample_and_the_record_stays(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    recorded = record_with_other_bytes(context, "small", "compact")
    before = contents(context.store.root)

    done = prepare(context)

    made = context.store.manifest(Task.TRANSLATION, "compact")
    assert done == ["quantized translation/small to compact"]
    assert made.digest != recorded.digest
    assert made.performance == []
    assert {score.dataset for score in made.quality} == {"sample"}
    assert {path: content for path, content in contents(context.store.root).items() if path in before} == before
    assert prepare(context) == []


def test_a_variant_that_is_there_takes_what_is_recorded_and_keeps_what_was_measured_here_since(tmp_path: Path) -> None:
    context, recorded = recorded_store(tmp_path)
    newer = performance(50, measured_at="2026-11-28T00:00:00+00:00")
    other = performance(70, batch=16)
    amend(context.store, "quantized", quality=[], performance=[newer, other], gate=None)

    assert prepare(context) == []

    found = context.store.manifest(Task.TRANSLATION, "quantized")
    assert found == recorded.model_copy(update={"performance": [newer, other]})


@pytest.mark.parametrize("name", ["onnx/decoder.onnx", "notes.txt"])
def test_a_folder_without_a_manifest_is_replaced_if_it_has_only_files_of_the_recorded_variant(
    tmp_path: Path, name: str
) -> None:
    context, recorded = recorded_store(tmp_path)
    folder = context.store.folder(Task.TRANSLATION, "quantized")
    (folder / "manifest.json").unlink()
    (folder / name).write_text("mine")

    prepare(context, measure=False)

    if name == "notes.txt":
        assert not (folder / "manifest.json").exists()
        assert (folder / name).read_text() == "mine"
    else:
        assert context.store.manifest(Task.TRANSLATION, "quantized") == recorded
        context.store.verify(Task.TRANSLATION, "quantized")


def test_a_record_that_cannot_be_read_is_named_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context, _ = recorded_store(tmp_path)
    (context.store.root / "translation" / "derived.json").write_text("{}")
    shutil.rmtree(context.store.folder(Task.TRANSLATION, "quantized"))
    capsys.readouterr()

    done = prepare(context, measure=False)

    assert done == ["quantized translation/original to quantized"]
    assert "translation/derived.json cannot be read: manifests: Field required. Restore" in capsys.readouterr().err
    refused = compression("prepare", "--record", "--store", context.store.root)
    assert refused.code == 1
    assert "translation/derived.json cannot be read" in refused.error


@pytest.mark.parametrize("verb", [("remove", "translation", "compact"), ("rename", "translation", "compact", "tiny")])
def test_a_recorded_variant_that_was_removed_or_renamed_is_not_made_again(
    tmp_path: Path, verb: tuple[str, ...]
) -> None:
    context = prepared(tmp_path)
    quantize(context, Task.TRANSLATION, "original", "compact")
    record_int8_variants(context)

    done = compression(*verb, "--store", context.store.root)

    assert done.code == 0, done.error
    assert prepare(context, measure=False) == []
    assert "compact" not in context.store.variants(Task.TRANSLATION)


def test_a_variant_that_was_quantized_with_data_is_not_replaced(tmp_path: Path) -> None:
    context, file = prepared(tmp_path), tiny_file(tmp_path)
    options = QuantizeOptions("int4-blocks", calibration_samples=4)
    quantize(context, Task.TRANSLATION, "original", "blocks", options, DataFiles([file], [file]))
    shutil.rmtree(context.store.folder(Task.TRANSLATION, "blocks") / "onnx")

    assert prepare(context, measure=False) == []


def test_an_artifact_of_the_users_that_is_called_quantized_is_never_touched(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    identity = vars(context.store.manifest(Task.TRANSLATION, "original")) | {"variant": "quantized"}
    with context.store.writing(Task.TRANSLATION, "quantized") as folder:
        shutil.copytree(context.store.folder(Task.TRANSLATION, "original"), folder, dirs_exist_ok=True)
        write_manifest(folder, Manifest(**identity | {"license": "mine"}))
    prepare(context)
    folder = context.store.folder(Task.TRANSLATION, "quantized")
    (folder / "model.safetensors").write_bytes(b"")
    shutil.rmtree(folder / "onnx")
    before = contents(folder)

    prepare(context)

    assert contents(folder) == before
    assert context.store.manifest(Task.TRANSLATION, "quantized").license == "mine"


def test_a_variant_of_the_user_whose_parent_was_removed_is_not_replaced(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    made = quantize(context, Task.TRANSLATION, "original")
    tiny_artifact(context, Family.T5)

    prepare(context, measure=False)

    assert context.store.manifest(Task.TRANSLATION, "quantized") == made
