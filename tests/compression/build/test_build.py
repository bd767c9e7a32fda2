import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.build.build import BuildOptions, Built, build
from slimseq.compression.build.recipe import Recipe, read_recipe
from slimseq.compression.build.work import working_in
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.compression.quantize.quantize import quantize
from slimseq.models_store.manifest import Reference, Step, Task
from slimseq.models_store.store import Store, write_manifest
from tests.command_line import compression
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file, tiny_model, tiny_tokenizer
from tests.families import Family

TASK = Task.TRANSLATION
# fp32, because steps in bf16 take five times as long on a CPU without instructions for it.
RECIPE = """
name: tiny
task: translation
base: {keep: true}
data: {train: [train.jsonl]}
benchmark: false
variants:
  pruned: {steps: [{prune: {feed_forward: 0.5, max_steps: STEPS, precision: fp32, checkpoint_steps: 2}}]}
  compact:
    from: pruned
    steps:
      - distill: {decoder_layers: 1, max_steps: 2}
      - quantize
"""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    tiny_file(tmp_path)
    return replace(context, may_replace=True)


def recipe(folder: Path, steps: int = 2, text: str = RECIPE) -> Recipe:
    path = folder / "tiny.yaml"
    path.write_text(text.replace("STEPS", str(steps)), encoding="utf-8")
    return read_recipe(path)


def built(context: Context, folder: Path, recipe: Recipe) -> Built:
    return build(context, recipe, BuildOptions(data_folder=folder, folder=folder / "build"))


def test_a_second_build_does_nothing(context: Context, tmp_path: Path) -> None:
    first = built(context, tmp_path, recipe(tmp_path))
    digests = {name: context.store.manifest(TASK, name).digest for name in ("pruned", "compact")}
    second = built(context, tmp_path, recipe(tmp_path))

    assert first.built == ["pruned", "compact"]
    assert second.built == [] and second.current == ["original", "pruned", "compact"]
    assert digests == {name: context.store.manifest(TASK, name).digest for name in digests}


def test_measurements_of_the_same_files_are_kept(context: Context, tmp_path: Path) -> None:
    built(context, tmp_path, recipe(tmp_path))
    store = context.store
    compression("benchmark", TASK, "compact", "--samples", 1, "--repeats", 1, "--record", "--store", store.root)
    measured = store.manifest(TASK, "compact")
    # Another lineage of the same files makes it stale.
    stale = measured.lineage[-1].model_copy(update={"key": None})
    store.rewrite_manifest(measured.model_copy(update={"lineage": [*measured.lineage[:-1], stale]}))

    again = built(context, tmp_path, recipe(tmp_path))

    after = store.manifest(TASK, "compact")
    assert again.built == ["compact"] and measured.performance
    assert (after.digest, after.performance) == (measured.digest, measured.performance)
    assert after.lineage == measured.lineage


def test_lineage_shows_the_steps_in_their_order(context: Context, tmp_path: Path) -> None:
    built(context, tmp_path, recipe(tmp_path))

    lineage = context.store.manifest(TASK, "compact").lineage

    assert [step.technique for step in lineage] == ["import", "prune", "distill", "quantize"]
    assert lineage[2].parent == context.store.manifest(TASK, "pruned").digest


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
    text = RECIPE.replace("checkpoint_steps: 2}}]", "checkpoint_steps: 2}}], gate: {fewer_parameters: 0.9}")

    result = built(context, tmp_path, recipe(tmp_path, text=text))

    pruned = context.store.manifest(TASK, "pruned")
    assert pruned.reference == reference
    [check] = result.verdicts["pruned"].checks
    assert check.value == round(1 - pruned.size.parameters / 10**6, 4) and check.is_passed

    shutil.rmtree(context.store.folder(TASK, "opus"))
    with pytest.raises(BadRecipe, match="the reference of translation/original, its own base model, is not in the"):
        built(context, tmp_path, recipe(tmp_path, text=text))


def test_variants_that_begin_with_the_same_steps_share_them(context: Context, tmp_path: Path) -> None:
    step = "prune: {feed_forward: 0.5, max_steps: 2}"
    text = f"""
name: tiny
task: translation
base: {{keep: true}}
data: {{train: [train.jsonl]}}
benchmark: false
variants:
  pruned: {{steps: [{step}, quantize]}}
  distilled: {{steps: [{step}, distill: {{decoder_layers: 1, max_steps: 2}}]}}
"""

    built(context, tmp_path, recipe(tmp_path, text=text))

    lineages = [context.store.manifest(TASK, name).lineage for name in ("pruned", "distilled")]
    assert [step.technique for step in lineages[1]] == ["import", "prune", "distill"]
    assert lineages[0][2].parent == lineages[1][2].parent
    assert not (tmp_path / "build" / "steps" / TASK / "distilled.1").exists()


def test_changed_options_rebuild_what_follows_from_them(context: Context, tmp_path: Path) -> None:
    built(context, tmp_path, recipe(tmp_path))

    again = built(context, tmp_path, recipe(tmp_path, text=RECIPE.replace("decoder_layers: 1", "encoder_layers: 1")))

    assert again.built == ["compact"]


def test_changed_data_rebuilds_everything(context: Context, tmp_path: Path) -> None:
    built(context, tmp_path, recipe(tmp_path))
    file = tmp_path / "train.jsonl"
    file.write_text(file.read_text() + '{"source": "One more.", "target": "Noch einer."}\n')

    again = built(context, tmp_path, recipe(tmp_path))

    assert again.built == ["pruned", "compact"]


def test_a_fresh_clone_with_the_artifacts_builds_nothing(context: Context, tmp_path: Path) -> None:
    built(context, tmp_path, recipe(tmp_path))

    again = build(context, recipe(tmp_path), BuildOptions(data_folder=tmp_path, folder=tmp_path / "elsewhere"))

    assert again.built == []


def test_a_missing_data_file_stops_the_build_before_anything_is_made(context: Context, tmp_path: Path) -> None:
    described = recipe(tmp_path, text=RECIPE.replace("train.jsonl", "missing.jsonl"))

    with pytest.raises(BadRecipe, match=r"missing\.jsonl"):
        built(context, tmp_path, described)

    assert context.store.variants(TASK) == ["original"]


def test_a_base_of_another_family_is_refused(context: Context, tmp_path: Path) -> None:
    described = recipe(tmp_path, text=RECIPE.replace("base:", "family: t5\nbase:"))

    with pytest.raises(BadRecipe, match="tiny is for t5; its base is a bart"):
        built(context, tmp_path, described)


def test_quality_is_measured_on_the_runtime_that_serves(context: Context, tmp_path: Path) -> None:
    assert context.store.export_of(TASK, "original", "onnx") is None
    text = RECIPE.replace("train: [train.jsonl]", "train: [train.jsonl], test: [{data: train.jsonl, samples: 2}]")

    built(context, tmp_path, recipe(tmp_path, text=text))

    for name in ("original", "pruned", "compact"):
        assert {score.runtime for score in context.store.manifest(TASK, name).quality} == {"onnxruntime"}


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


def test_a_wrong_recipe_exits_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\ntask: translation\nbase: {keep: true}\nvariants: {a: {steps: [nothing]}}\n")

    finished = compression("build", path, "--store", tmp_path / "store")

    assert finished.code == 1
    assert finished.error.startswith("error: bad.yaml: variants.a.steps[0]: there is no technique 'nothing'")
    assert len(finished.error.splitlines()) == 1


@pytest.mark.timeout(900)
def test_a_killed_build_resumes_and_ends_in_the_same_files(context: Context, tmp_path: Path) -> None:
    recipe(tmp_path, steps=150)
    undisturbed = tmp_path / "undisturbed"
    other = replace(context, store=Store(undisturbed / "store"))
    tiny_artifact(other, Family.BART, tmp_path)
    command = [sys.executable, "-m", "slimseq", "build", str(tmp_path / "tiny.yaml")]
    places = ["--store", str(context.store.root), "--build-folder", str(tmp_path / "build")]
    # In a process of its own as well: other tests leave this one with other numbers of threads.
    whole = compression(*command[3:], "--store", other.store.root, "--build-folder", undisturbed / "build")
    assert whole.code == 0, whole.error

    process = subprocess.Popen([*command, *places], stderr=subprocess.PIPE, env=os.environ)
    checkpoints = tmp_path / "build" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*/checkpoint/state.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    assert "pruned" not in context.store.variants(TASK)
    finished = compression(*command[3:], *places, "--json")

    assert finished.code == 0, finished.error
    assert "Resuming from step" in finished.error
    assert json.loads(finished.out)["built"] == ["pruned", "compact"]
    for name in ("pruned", "compact"):
        assert context.store.manifest(TASK, name).digest == other.store.manifest(TASK, name).digest


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
    tokenizer = tiny_tokenizer(Family.BART, tmp_path / "tokenizer")
    write_model(tiny_model(Family.BART, tokenizer, seed=7), tmp_path / "model")
    copy_tokenizer(tokenizer, tmp_path / "model")
    return tmp_path / "model"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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

    assert refused.code == 1 and kept == before and not has_begun
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


def test_a_build_reports_its_folder_and_size_and_clean_removes_only_its_files(context: Context, tmp_path: Path) -> None:
    recipe(tmp_path)
    folder = tmp_path / "work"
    arguments = ["build", tmp_path / "tiny.yaml", "--store", context.store.root, "--build-folder", folder]

    finished = compression(*arguments)
    (folder / "notes.txt").write_text("mine")
    taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - len("mine")
    published = contents(context.store.root)
    cleaned = compression(*arguments, "--clean")

    assert finished.code == 0, finished.error
    first, *_, last = finished.error.splitlines()
    assert first == f"Finished steps and checkpoints are in {folder}"
    assert last.startswith(f"{folder} takes {taken / 1e6:,.1f} MB") and last.endswith(f"{folder} --clean")
    assert cleaned.code == 0 and cleaned.out == f"{folder}: removed {taken / 1e6:,.1f} MB\n"
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert contents(context.store.root) == published


def test_a_second_build_in_the_same_folder_is_refused_while_the_first_runs(context: Context, tmp_path: Path) -> None:
    recipe(tmp_path)
    arguments = ["build", tmp_path / "tiny.yaml", "--store", context.store.root, "--build-folder", tmp_path / "work"]

    with working_in(tmp_path / "work"):
        built_beside = compression(*arguments)
        cleaned_beside = compression(*arguments, "--clean")

    for refused in (built_beside, cleaned_beside):
        assert refused.code == 1
        assert refused.error.splitlines()[-1] == (
            f"error: another command is writing {tmp_path / 'work'}; try again when it has ended"
        )
    assert context.store.variants(TASK) == ["original"]
