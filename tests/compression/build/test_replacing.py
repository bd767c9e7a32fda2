"""What a build may replace and remove: only what it made, unless it is forced."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.build.build import working_in
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.compression.quantize.quantize import quantize
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.compression.build.tiny_recipe import TASK, built, recipe
from tests.compression.tiny import tiny_model_folder
from tests.damage import contents
from tests.families import Family

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


def test_a_build_reports_its_folder_and_size(context: Context, tmp_path: Path) -> None:
    recipe(tmp_path)
    folder = tmp_path / "work"

    done = compression("build", tmp_path / "tiny.yaml", "--store", context.store.root, "--build-folder", folder)

    assert done.code == 0, done.error
    taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    first, *_, last = done.error.splitlines()
    assert first == f"Finished steps and checkpoints are in {folder}"
    assert last.startswith(f"{folder} takes {taken / 1e6:,.1f} MB") and last.endswith(f"rm -r {folder}")


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
