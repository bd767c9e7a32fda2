"""A variant gets the search that a recipe names, and keeps its weights."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.build.recipe import Recipe, RecipeStep
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.context import Context
from slimseq.compression.decode import TUNE_BEAMS, DecodeOptions, decode, recorded_search
from slimseq.compression.derivations import find_derivations
from slimseq.compression.errors import BadParameters
from slimseq.compression.prepare import prepare
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.lineage import lineage_labels
from slimseq.models_store.manifest import Manifest, Step, Task
from tests.compression.prepared_store import prepared
from tests.measured import amend

TASK = Task.TRANSLATION


def former_step(**changes: Any) -> Step:
    """A step as builds recorded it when `tune-beams` chose the number of beams."""
    parameters = {
        "num_beams": 2,
        "tolerance": 0.01,
        "samples": 500,
        "kept": {"1": 0.98, "2": 0.996},
        "dev": ["d.jsonl"],
    }
    step = Step(
        technique=TUNE_BEAMS, parameters=parameters, parent="sha256:" + "1" * 64, seed=0, versions={}, seconds=1.0,
        device="cpu", key="sha256:" + "2" * 64,
    )  # fmt: skip
    return step.model_copy(update=changes)


def replace_last_step(context: Context, variant: str, step: Step) -> None:
    """Makes the manifest of a variant say that its last step was another one, with the same parent."""
    lineage = context.store.manifest(TASK, variant).lineage
    step = step.model_copy(update={"parent": lineage[-1].parent})
    amend(context.store, variant, lineage=[*lineage[:-1], step])


# The options of the next two tests, and how messages describe them.
OTHER_SEARCH = DecodeOptions(num_beams=2, early_stopping=True, length_penalty=0.5)
OTHER_SEARCH_IN_WORDS = "Searches with 2 beams, length penalty 0.5, stops early."


def test_only_the_search_changes(context: Context) -> None:
    decode(context, TASK, "original", "two", OTHER_SEARCH)

    original, two = context.store.folder(TASK, "original"), context.store.folder(TASK, "two")
    assert (two / "model.safetensors").read_bytes() == (original / "model.safetensors").read_bytes()
    original_configuration = json.loads((original / "generation_config.json").read_text())
    configuration = json.loads((two / "generation_config.json").read_text())
    assert configuration == original_configuration | OTHER_SEARCH.changes
    context.store.verify(TASK, "two")


def test_the_manifest_says_how_the_search_changed(context: Context) -> None:
    before = context.store.manifest(TASK, "original")

    made = decode(context, TASK, "original", "two", OTHER_SEARCH)

    manifest = made.manifest
    assert manifest.generation == before.generation.model_copy(update=OTHER_SEARCH.changes)
    step = manifest.lineage[-1]
    assert (step.technique, step.parameters, step.parent) == ("decode", OTHER_SEARCH.changes, before.digest)
    assert manifest.description.endswith(OTHER_SEARCH_IN_WORDS)
    assert list(made.chosen) == [f"{OTHER_SEARCH_IN_WORDS} Before: Searches greedily."]


def test_a_setting_that_is_not_named_stays(context: Context) -> None:
    amend(
        context.store, "original", generation=GenerationDefaults(num_beams=4, length_penalty=0.6, early_stopping=True)
    )

    manifest = decode(context, TASK, "original", "greedy", DecodeOptions(num_beams=1)).manifest

    assert manifest.generation == GenerationDefaults(num_beams=1, length_penalty=0.6, early_stopping=True)
    assert manifest.description.endswith("Searches greedily.")


def test_measurements_with_another_search_are_not_copied(tmp_path: Path) -> None:
    context = replace(prepared(tmp_path, measure=True), may_replace=True)
    measured = context.store.manifest(TASK, "quantized")
    assert measured.quality

    decode(context, TASK, "quantized", "quantized", DecodeOptions(num_beams=3))

    assert context.store.manifest(TASK, "quantized").quality == []


@pytest.mark.parametrize("last_technique", ["decode", TUNE_BEAMS])
def test_prepare_makes_the_files_of_a_manifest_again_with_its_search(last_technique: str, context: Context) -> None:
    made = variant_without_files(context, last_technique)
    manifest_file = context.store.folder(TASK, "compact") / "manifest.json"
    before = manifest_file.read_bytes()

    prepare(context, measure=False)

    assert context.store.manifest(TASK, "compact").digest == made.digest
    assert manifest_file.read_bytes() == before
    context.store.verify(TASK, "compact")


@pytest.mark.parametrize("last_technique", ["decode", TUNE_BEAMS])
def test_prepare_goes_on_after_an_interruption(
    last_technique: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant_without_files(context, last_technique)
    manifest_file = context.store.folder(TASK, "compact") / "manifest.json"
    before = manifest_file.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("slimseq.compression.prepare.decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(context, measure=False)
    after_interruption = manifest_file.read_bytes()
    prepare(context, measure=False)

    assert after_interruption == before
    assert manifest_file.read_bytes() == before
    context.store.verify(TASK, "compact")


def variant_without_files(context: Context, last_technique: str) -> Manifest:
    """Makes the variant `compact` of two steps, removes its files but the manifest, and returns its first manifest.

    With `tune-beams` as the last technique, the manifest is as older builds recorded it.
    """
    quantize(context, TASK, "original", "compact.1", QuantizeOptions(scheme="ctranslate2-int8"))
    made = decode(context, TASK, "compact.1", "compact", DecodeOptions(num_beams=2)).manifest
    if last_technique == TUNE_BEAMS:
        replace_last_step(context, "compact", former_step())
    shutil.rmtree(context.store.folder(TASK, "compact.1"))
    folder = context.store.folder(TASK, "compact")
    shutil.rmtree(folder / "ctranslate2")
    (folder / "generation_config.json").unlink()
    return made


def test_every_setting_of_the_search_is_made_again(context: Context) -> None:
    quantize(context, TASK, "original", "int8", QuantizeOptions())
    decode(context, TASK, "int8", "two", DecodeOptions(num_beams=2, length_penalty=0.5))
    decode(context, TASK, "two", "compact", DecodeOptions(num_beams=1, early_stopping=True))

    found = find_derivations(context, TASK, ())["compact"]

    assert found.search == DecodeOptions(num_beams=1, early_stopping=True, length_penalty=0.5)


def test_a_lineage_with_tune_beams_stays_readable(context: Context) -> None:
    decode(context, TASK, "original", "fewer", DecodeOptions(num_beams=2))
    replace_last_step(context, "fewer", former_step())

    manifest = context.store.verify(TASK, "fewer")

    assert lineage_labels(manifest, context.store.manifests(TASK)) == ("original", "tune-beams")
    assert recorded_search(manifest.lineage) == DecodeOptions(num_beams=2)


@pytest.mark.parametrize(
    ("recorded_step", "options_of_recipe", "is_current"),
    [
        (former_step(), {"num_beams": 2}, True),
        (former_step(), {"num_beams": 3}, False),
        (former_step(), {"num_beams": 2, "early_stopping": True}, False),
        # A command made this step, and no build.
        (former_step(key=None), {"num_beams": 2}, False),
        (former_step(technique="decode"), {"num_beams": 2}, False),
    ],
)
def test_a_build_knows_what_tune_beams_made(
    context: Context, tmp_path: Path, recorded_step: Step, options_of_recipe: dict[str, Any], is_current: bool
) -> None:
    step = {"decode": options_of_recipe}
    recipe = Recipe.model_validate(
        {"name": "r", "task": TASK, "base": {"keep": True}, "variants": {"v": {"steps": [step]}}}
    )
    workspace = BuildWorkspace(recipe, context, tmp_path, tmp_path)

    found = workspace.are_current([recorded_step], [RecipeStep.model_validate(step)], recorded_step.parent)

    assert found is is_current


def test_a_variant_that_samples_has_no_search(context: Context) -> None:
    amend(context.store, "original", generation=GenerationDefaults(num_beams=1, do_sample=True))

    with pytest.raises(BadParameters, match=r"the variant draws its tokens \(do_sample\): it has no search to set"):
        decode(context, TASK, "original", "fewer", DecodeOptions(num_beams=2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (DecodeOptions(num_beams=0), "num_beams: Input should be greater than or equal to 1"),
        (DecodeOptions(num_beams=17), "num_beams: Input should be less than or equal to 16"),
        (DecodeOptions(length_penalty=9.0), "length_penalty: Input should be less than or equal to 5"),
        (DecodeOptions(), "changes nothing: give at least one of num_beams, early_stopping, length_penalty"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(context: Context, options: DecodeOptions, words: str) -> None:
    with pytest.raises(BadParameters, match=words):
        decode(context, TASK, "original", "fewer", options)
    assert "fewer" not in context.store.variants(TASK)
