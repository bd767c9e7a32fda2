"""What a build makes, measures and refuses."""

import shutil
from pathlib import Path

import pytest

from slimseq.compression.build import measure
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Reference, Step
from tests.command_line import compression
from tests.compression.build.tiny_recipe import RECIPE, TASK, built, recipe


def test_variants_have_their_lineage_and_are_measured_once_on_the_runtime_that_serves(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Speed is recorded, but not looked at.
    monkeypatch.setattr(measure, "SAMPLES", 2)
    monkeypatch.setattr(measure, "REPEATS", 1)
    assert context.store.export_of(TASK, "original", "onnx") is None
    tested = "train: [train.jsonl], test: [{data: train.jsonl, samples: 2}]"
    text = RECIPE.replace("train: [train.jsonl]", tested).replace("benchmark: false\n", "")

    built(context, tmp_path, recipe(tmp_path, text=text))
    again = built(context, tmp_path, recipe(tmp_path, text=text))

    assert again.built == [] and not again.measured
    for name in ("original", "pruned", "compact"):
        manifest = context.store.manifest(TASK, name)
        assert {(score.runtime, score.samples) for score in manifest.quality} == {("onnxruntime", 2)}
        assert {speed.batch for speed in manifest.performance} == {1, 16}
    pruned, compact = (context.store.manifest(TASK, name) for name in ("pruned", "compact"))
    # Names of variants that only the build has say nothing to a reader.
    assert compact.description.startswith("Made from original: prune, distill, quantize. It has ")
    assert pruned.description.startswith("original with ")
    assert [step.technique for step in compact.lineage] == ["import", "prune", "distill", "quantize"]
    assert compact.lineage[2].parent == pruned.digest


def test_a_variant_is_compared_with_the_base_across_all_steps(context: Context, tmp_path: Path) -> None:
    text = """
name: tiny
task: translation
base: {keep: true}
data: {train: [train.jsonl], test: [{data: train.jsonl, samples: 2}]}
benchmark: false
variants:
  tuned: {steps: [{train: {max_steps: 2}}, quantize], gate: {smaller: 1.2}}
"""

    result = built(context, tmp_path, recipe(tmp_path, text=text))

    original, tuned = (context.store.manifest(TASK, name) for name in ("original", "tuned"))
    assert tuned.reference == Reference(variant="original", digest=original.digest)
    assert {score.reference for score in tuned.quality} == {original.digest}
    assert result.verdicts["tuned"].status == "passed"
    assert "relative to: `original`" in (context.store.folder(TASK, "tuned") / "README.md").read_text()


def test_if_the_base_is_a_variant_its_base_model_is_the_reference(context: Context, tmp_path: Path) -> None:
    original = context.store.manifest(TASK, "original")
    step = Step(technique="prune", parent=original.digest)
    opus = original.model_copy(
        update={"variant": "opus", "size": original.size.model_copy(update={"parameters": 10**6})}
    )
    with context.store.writing(TASK, "opus") as folder:
        shutil.copytree(context.store.folder(TASK, "original"), folder, dirs_exist_ok=True)
        write_manifest(folder, opus)
    reference = Reference(variant="opus", digest=opus.digest)
    derived = original.model_copy(update={"lineage": [*original.lineage, step], "reference": reference})
    context.store.rewrite_manifest(derived)
    text = RECIPE.replace("checkpoint_seconds: 0}}]", "checkpoint_seconds: 0}}], gate: {fewer_parameters: 0.9}")

    result = built(context, tmp_path, recipe(tmp_path, text=text))

    pruned = context.store.manifest(TASK, "pruned")
    assert pruned.reference == reference
    [check] = result.verdicts["pruned"].checks
    assert check.value == round(1 - pruned.size.parameters / 10**6, 4) and check.is_passed

    shutil.rmtree(context.store.folder(TASK, "opus"))
    with pytest.raises(BadRecipe, match="the reference of translation/original, its own base model, is not in the"):
        built(context, tmp_path, recipe(tmp_path, text=text))


def test_a_missing_data_file_stops_the_build_before_anything_is_made(context: Context, tmp_path: Path) -> None:
    described = recipe(tmp_path, text=RECIPE.replace("train.jsonl", "missing.jsonl"))

    with pytest.raises(BadRecipe, match=r"missing\.jsonl"):
        built(context, tmp_path, described)

    assert context.store.variants(TASK) == ["original"]


def test_a_base_of_another_family_is_refused(context: Context, tmp_path: Path) -> None:
    described = recipe(tmp_path, text=RECIPE.replace("base:", "family: t5\nbase:"))

    with pytest.raises(BadRecipe, match="tiny is for t5; its base is a bart"):
        built(context, tmp_path, described)


def test_a_failed_gate_exits_with_two_and_marks_the_variant(context: Context, tmp_path: Path) -> None:
    text = RECIPE.replace("      - quantize\n", "      - quantize\n    gate: {fewer_parameters: 0.9}\n")
    recipe(tmp_path, text=text)

    finished = compression(
        "build", tmp_path / "tiny.yaml", "--store", context.store.root, "--build-folder", tmp_path / "b", "--json"
    )

    assert finished.code == 2
    assert finished.error.splitlines()[-1] == "gate failed: compact: kept and marked as rejected"
    assert finished.json["verdicts"]["compact"]["status"] == "rejected"
    assert context.store.manifest(TASK, "compact").is_rejected
