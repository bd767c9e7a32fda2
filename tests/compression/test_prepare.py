"""`prepare` builds what is missing, outdated or damaged, and skips what it must not touch."""

import json
import os
import shutil
from pathlib import Path

import pytest

from slimseq.compression.prepare import prepare, record_int8_variants
from slimseq.evaluation.host import cpu_flags
from slimseq.models_store.manifest import Check, Task, Verdict
from tests.command_line import compression
from tests.compression.prepared_store import prepared
from tests.compression.tiny import tiny_artifact, tiny_store
from tests.damage import contents
from tests.families import Family
from tests.forking import start
from tests.measured import amend, performance, score


def test_everything_missing_is_built_and_measured_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    context = prepared(tmp_path, measure=True)

    assert context.store.has_format(Task.TRANSLATION, "original", "onnx")
    quality = context.store.manifest(Task.TRANSLATION, "quantized").quality
    assert {score.metric for score in quality} == {"bleu", "chrf", "chrf++"}
    assert all(score.dataset == "sample" and score.signature for score in quality)
    assert prepare(context) == []


def test_a_variant_of_another_original_is_built_again(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    tiny_artifact(context, Family.T5)

    done = prepare(context, measure=False)

    assert done == ["exported translation/original to onnx", "quantized translation/original to quantized"]
    original = context.store.manifest(Task.TRANSLATION, "original")
    assert context.store.manifest(Task.TRANSLATION, "quantized").parent == original.digest


def test_a_damaged_variant_is_built_again_and_keeps_what_was_measured(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    before = amend(context.store, "quantized", performance=[performance(100)], quality=[score(12.5, dataset="news")])
    (context.store.folder(Task.TRANSLATION, "quantized") / "onnx" / "decoder.onnx").write_bytes(b"")

    done = prepare(context, measure=False)

    assert done == ["quantized translation/original to quantized"]
    assert context.store.verify(Task.TRANSLATION, "quantized") == before


def test_a_variant_of_an_earlier_version_gets_the_recorded_description(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    amend(context.store, "quantized", description="Demonstration weights: small.")
    record_int8_variants(context)
    amend(context.store, "quantized", description="Small.")

    prepare(context, measure=False)

    assert context.store.manifest(Task.TRANSLATION, "quantized").description == "Demonstration weights: small."


def test_an_artifact_with_an_unreadable_manifest_is_skipped_and_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = prepared(tmp_path)
    folder = context.store.folder(Task.TRANSLATION, "quantized")
    (folder / "manifest.json").write_text("{}")
    before = contents(folder)
    capsys.readouterr()

    assert prepare(context, measure=False) == []

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("Skipped translation/quantized: translation/quantized/manifest.json cannot be read")
    assert "slimseq remove translation quantized --store" in line
    assert contents(folder) == before


def test_ctranslate2_files_are_made_if_measurements_say_that_they_are_faster(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    measured = [
        performance(speed, cpu_flags=cpu_flags(), runtime=runtime, batch=16)
        for runtime, speed in (("onnxruntime", 100), ("ctranslate2", 150))
    ]
    amend(context.store, "original", performance=measured)

    assert prepare(context) == ["exported translation/original to ctranslate2"]
    assert prepare(context) == []


def test_a_broken_variant_stops_neither_the_others_nor_the_command(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    shutil.rmtree(context.store.folder(Task.TRANSLATION, "small") / "onnx")
    config = context.store.folder(Task.TRANSLATION, "original") / "config.json"
    config.write_bytes(config.read_bytes() + b" ")

    done = compression("prepare", "--store", context.store.root, "--json")

    assert done.code == 0
    assert done.json == ["exported translation/small to onnx"]
    assert "Skipped translation/original: config.json has" in done.error
    assert "remove translation original" in done.error
    context.store.verify(Task.TRANSLATION, "quantized")


def test_a_rejected_variant_is_skipped_and_the_gate_that_it_failed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = prepared(tmp_path, has_small=True)
    shutil.rmtree(context.store.folder(Task.TRANSLATION, "small") / "onnx")
    check = Check(name="retention of bleu on test", value=0.9, limit=0.95, is_passed=False)
    amend(context.store, "small", gate=Verdict(status="rejected", checks=[check]))
    capsys.readouterr()

    assert prepare(context, measure=False) == []

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "Skipped translation/small: its gate rejected it (retention of bleu on test 0.9, at least 0.95)"
    )
    assert not context.store.has_format(Task.TRANSLATION, "small", "onnx")


def test_two_commands_at_the_same_time_build_everything_once(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    command = ["slimseq", "prepare", "--store", str(context.store.root), "--json"]
    outputs = [tmp_path / "1", tmp_path / "2"]

    processes = [start(command, os.environ, out, tmp_path / "error") for out in outputs]

    assert [process.wait(300) for process in processes] == [0, 0], (tmp_path / "error").read_text()
    done = sorted(sentence for out in outputs for sentence in json.loads(out.read_text()))
    assert done == ["exported translation/original to onnx", "quantized translation/original to quantized"]
    assert prepare(context) == []
