"""The table of families and steps is true: each cell is tried on a tiny model, and recipes are held against it."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from slimseq.compression.artifacts.parent import open_parent
from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.compress.structures.losses import divergence, measure_losses
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_ctranslate2, add_onnx
from slimseq.compression.families import NAMES, PRUNE_TO_PLAN, STEPS, table
from slimseq.compression.prune.choose_parts import choose_parts
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer, whole_plan
from slimseq.compression.technique import Job, technique_named
from slimseq.compression.train.data.training_data import DataFiles, TrainingSet, limits_of
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_json
from slimseq.inference.models.registry import FAMILIES
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.compression.language_models import m2m100_folder, marian_folder, mbart_folder, related_folder, spread
from tests.compression.tiny import EXAMPLES, SENTENCES, tiny_context, tiny_file, tiny_import, tiny_model, tiny_tokenizer
from tests.families import Family
from tests.hub import HubHandler, running_hub
from tests.marian_students import tiny_folder

TASK = Task.TRANSLATION
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "compress.md"
ONE, FIVE = {"max_steps": 1}, {"max_steps": 5}
# How each row with a technique is tried: first those of one pruning, all of them at once.
PRUNED: dict[str, dict[str, Any]] = {
    "prune --encoder-layers --decoder-layers": {"encoder_layers": 1},
    "prune --heads": {"heads": 2},
    "prune --feed-forward": {"feed_forward": 0.5, "criterion": "magnitude"},
    "prune --vocabulary": {"vocabulary": 0},
}
TRIED: dict[str, dict[str, Any]] = {
    "train --from": ONE,
    "distill": {"decoder_layers": 1, "sequence_level": "add", **ONE},
    "average": {"other": "original"},
    "decode": {"num_beams": 2},
    "quantize --scheme int4-blocks": {"scheme": "int4-blocks", "calibration_samples": 4},
}
RUNTIMES = {"onnxruntime": "onnx", "torch": "safetensors", "ctranslate2": "ctranslate2"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of tiny models wait for each other more than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_folder(model_type: str, folder: Path) -> Path:
    """A model of a type as a hub has it."""
    if model_type == "mbart":
        return mbart_folder(folder / "model")
    if model_type == "marian":
        return marian_folder(folder / "model", ("en", "de"))
    if model_type == "marian-student":
        return tiny_folder(folder / "model", is_int8=True)
    if model_type == "m2m_100":
        return m2m100_folder(folder / "model")
    if model_type in ("mt5", "umt5", "pegasus"):
        return related_folder({"mt5": "mT5", "umt5": "umT5", "pegasus": "PEGASUS"}[model_type], folder)
    torch.manual_seed(2)
    tokenizer = tiny_tokenizer(Family(model_type), folder / "tokenizer")
    model = tiny_model(Family(model_type), tokenizer)
    spread(model)
    write_model(model, folder / "model")
    copy_tokenizer(tokenizer, folder / "model")
    return folder / "model"


def imported(model_type: str, folder: Path) -> Context:
    """A store with a model of a type as `translation/original`."""
    source = model_folder(model_type, folder)
    return tiny_import(folder, source, languages=["en", "de"], max_new_tokens=8, max_input_tokens=40)


def apply(context: Context, technique: str, options: Mapping[str, Any], name: str, folder: Path) -> None:
    """Applies a technique to the original, or to what was trained from it."""
    parent = "train-from" if technique == "average" else "original"
    found = technique_named(technique)
    found.apply(Job(context, TASK, parent, name, DataFiles([tiny_file(folder)])), found.read(options))


def add_export(context: Context, model_type: str, variant: str) -> None:
    """Adds CTranslate2's files where it knows the family, and else checks that it says so."""
    refusal = FAMILIES[model_type].ctranslate2_refusal
    if not refusal:
        add_ctranslate2(context, TASK, variant)
        return
    with pytest.raises(BadSource, match=re.escape(refusal)):
        add_ctranslate2(context, TASK, variant)


def assert_serves(context: Context, variant: str, *runtimes: str, **settings: Any) -> None:
    """Every runtime that opens a variant gives the same ids, and outputs differ by input."""
    context.store.verify(TASK, variant)
    outputs = []
    for runtime in runtimes or RUNTIMES:
        if context.store.has_format(TASK, variant, RUNTIMES[runtime]):
            with open_generator(context.store, TASK, variant, runtime, threads=1) as generator:
                options = generator.manifest.generation.options(**({"num_beams": 1} | settings))
                rows = [generator.encode(source).ids for source, _ in SENTENCES[:4]]
                outputs.append([each.ids for each in generator.runtime.generate(rows, options)])
    assert outputs, variant
    assert all(each == outputs[0] for each in outputs), variant
    assert all(ids for ids in outputs[0])


def test_the_readme_has_the_table() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    shown = text.partition("<!-- families:begin -->")[2].partition("<!-- families:end -->")[0]

    assert shown.strip() == table()
    assert list(NAMES) == list(FAMILIES)


@pytest.mark.parametrize("model_type", list(NAMES))
def test_each_step_does_what_the_table_says(model_type: str, tmp_path: Path) -> None:
    context = imported(model_type, tmp_path)
    assert read_json(context.store.folder(TASK, "original") / "config.json")["model_type"] == model_type
    add_onnx(context, TASK, "original")
    add_export(context, model_type, "original")
    assert_serves(context, "original")
    beams = {"num_beams": 4, "length_penalty": 0.6, "no_repeat_ngram_size": 2, "max_new_tokens": 20}
    assert_serves(context, "original", "onnxruntime", "torch", **beams)

    together: dict[str, Any] = {}
    for step in STEPS:
        name = step.name.replace(" --", "-").replace(" ", "-").replace(",", "")
        options = PRUNED.get(step.name) or TRIED.get(step.name) or {"scheme": step.name.split()[-1]}
        # `test_varied_artifacts` tries plans for every family.
        if not step.technique or step.name == PRUNE_TO_PLAN:
            continue
        if model_type in step.refused:
            with pytest.raises(BadParameters, match=f"`{step.name}` does not work for {NAMES[model_type]}: "):
                apply(context, step.technique, options, name, tmp_path)
            assert name not in context.store.variants(TASK)
        elif step.name in PRUNED:
            together |= options
        else:
            apply(context, step.technique, options, name, tmp_path)
            assert_serves(context, name)
            assert context.store.manifest(TASK, name).lineage[-1].technique == step.technique
    apply(context, "prune", together | ONE, "pruned", tmp_path)
    assert_serves(context, "pruned")


@pytest.mark.parametrize("model_type", list(NAMES))
def test_a_new_base_of_every_family_is_trained_and_serves(model_type: str, tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    size = {"width": 32, "encoder_layers": 1, "decoder_layers": 2, "heads": 4, "feed_forward": 64, "positions": 64}
    options = {"family": model_type, **size, "vocabulary": 320, "max_new_tokens": 8, "learning_rate": 0.01, **FIVE}

    train = technique_named("train")
    train.apply(Job(context, TASK, "", "base", DataFiles([tiny_file(tmp_path)])), train.read(options))
    add_export(context, model_type, "base")

    assert read_json(context.store.folder(TASK, "base") / "config.json")["model_type"] == model_type
    assert_serves(context, "base")


RECIPE = """
name: refused
task: translation
base: {base}
data: {{train: [train.jsonl]}}
variants:
  pruned: {{steps: [prune: {{feed_forward: 0.5, max_steps: 1}}]}}
  half: {{from: pruned, steps: [quantize: {{scheme: fp16}}]}}
benchmark: false
"""
WORDS = (
    "error: refused: variants.half.steps[0]: `quantize --scheme fp16` does not work for mT5: fp16 is not for T5, whose "
    "activations overflow in it; store bf16 instead. What works: `quantize --scheme int8-dynamic`, "
)


def written(folder: Path, base: Mapping[str, Any]) -> Path:
    tiny_file(folder)
    path = folder / "refused.yaml"
    path.write_text(RECIPE.format(base=json.dumps(dict(base))), encoding="utf-8")
    return path


@pytest.mark.parametrize("source", ["a folder", "slimseq/tiny"])
def test_a_recipe_is_refused_before_anything_is_written_or_weights_are_downloaded(source: str, tmp_path: Path) -> None:
    folder = model_folder("mt5", tmp_path)
    recipe = written(tmp_path, {"import": str(folder) if source == "a folder" else source})

    with running_hub({"slimseq/tiny": folder}) as endpoint:
        done = compression(
            "build", recipe, "--store", tmp_path / "own", "--build-folder", tmp_path / "build",
            HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "home"),
        )  # fmt: skip
        asked = list(HubHandler.asked)

    assert done.code == 1
    assert done.error.splitlines()[-1].startswith(WORDS)
    assert not any(each.endswith(".safetensors") for each in asked)
    assert not (tmp_path / "own").exists()
    assert not (tmp_path / "build" / "steps").exists()


def test_a_recipe_is_checked_against_the_base_that_it_keeps(tmp_path: Path) -> None:
    context = imported("mt5", tmp_path)
    recipe = written(tmp_path, {"keep": True})

    done = compression("build", recipe, "--store", context.store.root, "--build-folder", tmp_path / "build")

    assert done.code == 1
    assert done.error.splitlines()[-1].startswith(WORDS)
    assert Store(context.store.root).variants(TASK) == ["original"]


def test_a_command_refuses_a_step_before_it_reads_data(tmp_path: Path) -> None:
    context = imported("t5", tmp_path)
    words = ("quantize", "translation", "original", "--scheme", "fp16", "--data", tmp_path / "absent.jsonl")

    done = compression(*words, "--store", context.store.root)

    assert done.code == 1
    assert done.error.startswith("error: `quantize --scheme fp16` does not work for T5: ")


@pytest.mark.parametrize("model_type", list(NAMES))
def test_every_part_of_every_family_has_a_loss_and_can_be_halved(model_type: str, tmp_path: Path) -> None:
    context = imported(model_type, tmp_path)
    parent = open_parent(context, TASK, "original", "smaller")
    generation, model = parent.manifest.generation, parent.model
    pairs = TrainingSet(EXAMPLES, parent.tokenizer, generation.prefix, limits_of(generation, 40))
    whole = whole_plan(model)

    table = measure_losses(model, pairs, pairs, context)
    halves = {
        stack: tuple(
            PlannedLayer(each.layer, each.heads and each.heads // 2, each.cross_heads, each.feed_forward // 2)
            for each in layers
        )
        for stack, layers in whole.stacks.items()
    }
    plan = LayerPlan(**halves)
    cut = cut_to_plan(model, plan, *choose_parts(model, plan, pairs, context))

    sizes = [size for layers in whole.stacks.values() for each in layers for size in (each.heads, each.cross_heads)]
    assert len(table.parts) == sum(size is not None for size in sizes) + sum(map(len, whole.stacks.values()))
    assert all(math.isfinite(loss) for part in table.parts for loss in part.losses)
    assert any(part.losses[-1] > 0 for part in table.parts)
    assert 0 < divergence(model, cut, pairs, context) < math.inf
