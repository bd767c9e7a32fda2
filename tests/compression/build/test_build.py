"""What a build makes, measures, refuses, and may replace: only what it made, unless it is forced."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.build import measure_variants
from slimseq.compression.build.build import build, working_in
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.compression.quantize.quantize import quantize
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Reference, Step
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.compression.build.tiny_recipe import RECIPE, TASK, built, recipe
from tests.compression.tiny import tiny_file, tiny_import, tiny_model_folder
from tests.damage import contents
from tests.families import Family
from tests.marian_students import tiny_folder


def test_variants_have_their_lineage_and_are_measured_once_on_the_runtime_that_serves(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Speed is recorded, but not looked at.
    monkeypatch.setattr(measure_variants, "SAMPLES", 2)
    monkeypatch.setattr(measure_variants, "REPEATS", 1)
    assert context.store.export_of(TASK, "original", "onnx") is None
    tested = "train: [train.jsonl], test: [{data: test.jsonl, samples: 2}]"
    text = RECIPE.replace("train: [train.jsonl]", tested).replace("benchmark: false\n", "")

    built(context, tmp_path, recipe(tmp_path, text=text))
    again = built(context, tmp_path, recipe(tmp_path, text=text))

    assert again.built == []
    assert not again.measured
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
data: {train: [train.jsonl], test: [{data: test.jsonl, samples: 2}]}
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
    assert check.value == round(1 - pruned.size.parameters / 10**6, 4)
    assert check.is_passed

    shutil.rmtree(context.store.folder(TASK, "opus"))
    with pytest.raises(BadRecipe, match="the reference of translation/original, its own base model, is not in the"):
        built(context, tmp_path, recipe(tmp_path, text=text))


def test_a_new_base_begins_with_a_variant_of_the_users_store(tmp_path: Path) -> None:
    tiny_file(tmp_path)
    context = tiny_import(tmp_path, tiny_folder(tmp_path / "student"), variant="firefox", languages=["en", "de"])
    student = context.store.manifest(TASK, "firefox")
    text = """
name: tiny
task: translation
family: bart
base:
  steps:
    - train: {begin_with: firefox, width: 32, encoder_layers: 2, decoder_layers: 2, heads: 4, feed_forward: 48,
        positions: 64, vocabulary: 300, max_input_tokens: 48, max_new_tokens: 48, max_steps: 2}
data: {train: [train.jsonl]}
variants:
  pruned: {steps: [prune: {feed_forward: 0.5, max_steps: 2}]}
"""

    build(context, recipe(tmp_path, text=text), tmp_path, tmp_path / "build", measure=False)

    [made] = context.store.manifest(TASK, "original").lineage
    assert made.parameters["begin_with"] == f"firefox {student.digest}"


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


def test_a_base_model_that_is_no_better_than_a_copy_is_said_before_the_first_step(
    context: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny model has random weights: a share of what it scores says nothing."""
    rows = [{"source": "A dog.", "target": "A dog."}, {"source": "Two dogs run.", "target": "Two dogs run."}]
    (tmp_path / "copies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tested = "train: [train.jsonl], test: [{data: copies.jsonl, generation: {max_new_tokens: 8}}]"
    text = RECIPE.replace("train: [train.jsonl]", tested)
    gated = text.replace("      - quantize\n", "      - quantize\n    gate: {metric: chrf, retention: 0.01}\n")

    built(context, tmp_path, recipe(tmp_path, text=gated))

    before, _, after = capsys.readouterr().err.partition("pruned: prune (1 of 1) from original")
    assert "Warning: on the first 2 samples, original has " in before
    assert "no more than the trivial baseline" in before
    assert after != ""
    assert "Warning: on the first" not in after


IMPORTING = """
name: mine
task: translation
base: {import: MODEL, options: {max_new_tokens: 47, max_input_tokens: 48}}
data: {train: [train.jsonl]}
benchmark: false
variants:
  quantized: {steps: [quantize]}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder to import."""
    return tiny_model_folder(Family.BART, tmp_path / "model", seed=7)


def test_a_build_replaces_nothing_without_force_and_names_what_is_there_before_it_starts(
    context: Context, tmp_path: Path, model: Path
) -> None:
    quantize(context, TASK, "original")
    recipe(tmp_path, text=IMPORTING.replace("MODEL", str(model)))
    before = contents(context.store.root)
    arguments = ["build", tmp_path / "tiny.yaml", "--store", context.store.root, "--build-folder", tmp_path / "work"]

    refused = compression(*arguments)
    kept, has_begun = contents(context.store.root), (tmp_path / "work").exists()
    forced = compression(*arguments, "--force", "--json")

    assert refused.code == 1
    assert kept == before
    assert not has_begun
    assert refused.error.removesuffix("\n") == (
        f"error: mine would replace translation/original, translation/quantized in {context.store.root}; give another "
        "--store, move them away with `rename`, or replace them with --force"
    )
    assert forced.code == 0, forced.error
    assert forced.json["built"] == ["original", "quantized"]


def test_artifacts_of_the_recipe_itself_are_replaced(context: Context, tmp_path: Path, model: Path) -> None:
    described = recipe(tmp_path, text=IMPORTING.replace("MODEL", str(model)))
    careful = replace(context, store=Store(tmp_path / "empty"), may_replace=False)
    built(careful, tmp_path, described)
    shutil.rmtree(careful.store.folder(TASK, "original"))

    again = built(careful, tmp_path, described)

    assert (again.built, again.current) == (["original"], ["quantized"])


def test_a_broken_variant_is_not_replaced_without_force(context: Context, tmp_path: Path) -> None:
    built(context, tmp_path, recipe(tmp_path))
    (context.store.folder(TASK, "pruned") / "config.json").write_text("{}")

    with pytest.raises(BadRecipe, match="tiny would replace translation/pruned in"):
        built(replace(context, may_replace=False), tmp_path, recipe(tmp_path))
    again = built(context, tmp_path, recipe(tmp_path))

    assert again.built == ["pruned"]


def test_a_build_reports_its_folder_and_size(context: Context, tmp_path: Path) -> None:
    recipe(tmp_path)
    folder = tmp_path / "work"

    done = compression("build", tmp_path / "tiny.yaml", "--store", context.store.root, "--build-folder", folder)

    assert done.code == 0, done.error
    taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    first, *_, last = done.error.splitlines()
    assert first == f"Finished steps and checkpoints are in {folder}"
    assert last.startswith(f"{folder} takes {taken / 1e6:,.1f} MB")
    assert last.endswith(f"rm -r {folder}")


def test_a_second_build_in_the_same_folder_is_refused_while_the_first_runs(context: Context, tmp_path: Path) -> None:
    recipe(tmp_path)
    arguments = ["build", tmp_path / "tiny.yaml", "--store", context.store.root, "--build-folder", tmp_path / "work"]

    with working_in(tmp_path / "work"):
        refused = compression(*arguments)

    assert refused.code == 1
    assert refused.error.splitlines()[-1] == (
        f"error: another command is writing {tmp_path / 'work'}; try again when it has ended"
    )
    assert context.store.variants(TASK) == ["original"]
