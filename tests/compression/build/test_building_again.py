"""A build after a build: only what is missing or stale is made, also after a crash."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.build.build import build
from slimseq.compression.context import Context
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.compression.build.tiny_recipe import RECIPE, TASK, built, recipe
from tests.compression.tiny import tiny_artifact
from tests.families import Family
from tests.forking import start
from tests.measured import amend


def test_measurements_of_the_same_files_are_kept(context: Context, tmp_path: Path) -> None:
    built(context, tmp_path, recipe(tmp_path))
    store = context.store
    compression("benchmark", TASK, "compact", "--samples", 1, "--repeats", 1, "--record", "--store", store.root)
    measured = store.manifest(TASK, "compact")
    # Another lineage of the same files makes it stale.
    stale = measured.lineage[-1].model_copy(update={"key": None})
    amend(store, "compact", lineage=[*measured.lineage[:-1], stale])

    again = built(context, tmp_path, recipe(tmp_path))

    after = store.manifest(TASK, "compact")
    assert again.built == ["compact"]
    assert measured.performance
    assert (after.digest, after.performance) == (measured.digest, measured.performance)
    assert after.lineage == measured.lineage


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


def test_only_what_is_missing_or_stale_is_built_again(context: Context, tmp_path: Path) -> None:
    def again(text: str = RECIPE, folder: str = "build") -> list[str]:
        return build(context, recipe(tmp_path, text=text), tmp_path, tmp_path / folder).built

    assert again() == ["pruned", "compact"]
    # As in a fresh clone with the artifacts.
    assert again(folder="elsewhere") == []
    assert again(RECIPE.replace("decoder_layers: 1", "encoder_layers: 1")) == ["compact"]
    file = tmp_path / "train.jsonl"
    file.write_text(file.read_text() + '{"source": "One more.", "target": "Noch einer."}\n')
    assert again() == ["pruned", "compact"]


def test_a_variant_with_a_further_step_goes_on_from_what_it_was(context: Context, tmp_path: Path) -> None:
    text = RECIPE.partition("  compact:")[0]
    built(context, tmp_path, recipe(tmp_path, text=text))
    before = context.store.manifest(TASK, "pruned").lineage
    context.store.remove(TASK, "pruned")

    built(context, tmp_path, recipe(tmp_path, text=text.replace("}}]}", "}}, quantize]}")))

    assert context.store.manifest(TASK, "pruned").lineage[:-1] == before


@pytest.mark.timeout(900)
def test_a_killed_build_resumes_and_ends_in_the_same_files(context: Context, tmp_path: Path) -> None:
    recipe(tmp_path, steps=60)
    undisturbed = tmp_path / "undisturbed"
    other = replace(context, store=Store(undisturbed / "store"))
    tiny_artifact(other, Family.BART)
    words = ["build", tmp_path / "tiny.yaml"]
    places = ["--store", context.store.root, "--build-folder", tmp_path / "build"]
    # In a process of its own as well: other tests leave this one with other numbers of threads.
    whole = compression(*words, "--store", other.store.root, "--build-folder", undisturbed / "build")
    assert whole.code == 0, whole.error

    process = start(["slimseq", *map(str, [*words, *places])], os.environ, tmp_path / "out", tmp_path / "error")
    checkpoints = tmp_path / "build" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*/checkpoint/state.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert "pruned" not in context.store.variants(TASK)
    finished = compression(*words, *places, "--json")

    assert finished.code == 0, finished.error
    assert "Resuming at step" in finished.error
    assert json.loads(finished.out)["built"] == ["pruned", "compact"]
    for name in ("pruned", "compact"):
        assert context.store.manifest(TASK, name).digest == other.store.manifest(TASK, name).digest
