"""Artifacts whose layers have different widths: made by a recipe's plan, served, quantized, and pruned again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from transformers import AutoModelForSeq2SeqLM

from slimseq.compression.build.recipe import read_recipe
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters, BadRecipe
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.compression.export.optimum_onnx import export_with_optimum
from slimseq.compression.families import NAMES, REFUSED
from slimseq.compression.models import load_model
from slimseq.compression.prune.layer_plan import LayerPlan, whole_plan
from slimseq.compression.prune.model_shapes import is_varied
from slimseq.compression.quantize.quantize_options import SchemeName
from slimseq.compression.step_keys import KEY_VERSION, key_of
from slimseq.compression.technique import Job, step_key, technique_named
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_json
from slimseq.inference.runtimes.onnxruntime import OnnxRuntime
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Task
from tests.compression.test_families import TASK, apply, assert_serves, imported
from tests.compression.tiny import SENTENCES, tiny_file, tiny_import, tiny_model_folder
from tests.compression.varied import varied_plan
from tests.families import Family
from tests.inference.engine.company import exact_output, in_company

BEAMS: dict[str, Any] = {"num_beams": 4, "length_penalty": 0.6, "no_repeat_ngram_size": 2, "max_new_tokens": 20}
SETTINGS: list[dict[str, Any]] = [{"num_beams": 1}, {"num_beams": 3}, {"num_beams": 1, "no_repeat_ngram_size": 2}]


def with_varied(context: Context, folder: Path, steps: int = 0) -> LayerPlan:
    """Adds `varied`, pruned to a plan by which layers differ."""
    plan = varied_plan(load_model(context.store.folder(TASK, "original")))
    apply(context, "prune", {"plan": plan.record(), "max_steps": steps}, "varied", folder)
    return plan


def config_of(context: Context, variant: str) -> dict[str, Any]:
    return read_json(context.store.folder(TASK, variant) / "config.json")


def in_company_and_alone(context: Context, variant: str) -> tuple[list[Any], list[Any]]:
    """Returns outputs of inputs that join and leave at any step, and of each input alone."""
    with open_generator(context.store, TASK, variant, "onnxruntime", threads=1) as generator:
        runtime = generator.runtime
        assert isinstance(runtime, OnnxRuntime)
        rows = [list(generator.encode(source).ids) for source, _ in SENTENCES[:9]]
        options = [generator.manifest.generation.options(**SETTINGS[row % 3], max_new_tokens=12) for row in range(9)]
        together = in_company(runtime.engine(), rows, options)
        alone = [runtime.generate([row], each)[0] for row, each in zip(rows, options, strict=True)]
    return list(map(exact_output, together)), list(map(exact_output, alone))


@pytest.mark.parametrize("model_type", list(NAMES))
def test_an_artifact_of_every_family_is_pruned_to_a_plan_and_serves(model_type: str, tmp_path: Path) -> None:
    context = imported(model_type, tmp_path)

    plan = with_varied(context, tmp_path, steps=1)

    manifest, original = context.store.manifest(TASK, "varied"), context.store.manifest(TASK, "original")
    model = load_model(context.store.folder(TASK, "varied"))
    assert whole_plan(model) == plan
    assert manifest.lineage[-1].parameters["plan"] == plan.record()
    assert manifest.size.parameters == model.num_parameters() < original.size.parameters
    assert "feed-forward channels in the encoder" in manifest.description
    # Greedy and beam search give the ids of transformers.
    assert_serves(context, "varied")
    assert_serves(context, "varied", "onnxruntime", "torch", **BEAMS)
    together, alone = in_company_and_alone(context, "varied")
    assert together == alone


@pytest.mark.parametrize("model_type", list(NAMES))
def test_an_artifact_whose_layers_differ_is_quantized_by_every_scheme(model_type: str, tmp_path: Path) -> None:
    context = imported(model_type, tmp_path)
    with_varied(context, tmp_path)

    for scheme in get_args(SchemeName):
        options = {"scheme": scheme, "calibration_samples": 4}
        job = Job(context, TASK, "varied", scheme, DataFiles([tiny_file(tmp_path)]))
        technique = technique_named("quantize")
        is_ctranslate2 = scheme.startswith("ctranslate2")
        if model_type in REFUSED.get(scheme, {}):
            with pytest.raises(BadParameters, match="does not work for"):
                technique.apply(job, technique.read(options))
        elif is_ctranslate2:
            with pytest.raises(BadSource, match="CTranslate2 has one number of heads for all attentions"):
                technique.apply(job, technique.read(options))
        elif scheme == "int8-published":
            # The published integers are those of the weights before the cut.
            with pytest.raises(BadParameters):
                technique.apply(job, technique.read(options))
        else:
            technique.apply(job, technique.read(options))
            assert_serves(context, scheme)


@pytest.mark.parametrize("model_type", ["t5", "umt5", "bart", "marian-student"])
def test_an_artifact_whose_layers_differ_is_pruned_and_distilled_further(model_type: str, tmp_path: Path) -> None:
    context = imported(model_type, tmp_path)
    plan = with_varied(context, tmp_path)

    def applied(technique: str, options: Mapping[str, Any], name: str) -> LayerPlan:
        found = technique_named(technique)
        job = Job(context, TASK, "varied", name, DataFiles([tiny_file(tmp_path)]))
        found.apply(job, found.read({**options, "max_steps": 1}))
        assert_serves(context, name)
        return whole_plan(load_model(context.store.folder(TASK, name)))

    fewer_layers = applied("prune", {"feed_forward": 1, "decoder_layers": 1}, "fewer-layers")
    narrower = applied("prune", {"feed_forward": 0.5}, "narrower")
    applied("prune", {"feed_forward": 1, "vocabulary": 0}, "fewer-tokens")
    applied("distill", {"decoder_layers": 1}, "student")

    assert [len(layers) for layers in fewer_layers.stacks.values()] == [len(plan.encoder), 1]
    for stack, layers in plan.stacks.items():
        assert [layer.feed_forward for layer in narrower.stacks[stack]] == [
            round(layer.feed_forward / 2) for layer in layers
        ]
        assert [layer.heads for layer in narrower.stacks[stack]] == [layer.heads for layer in layers]
    tokens = [config_of(context, name)["vocab_size"] for name in ("varied", "fewer-tokens")]
    assert tokens[0] >= tokens[1]
    with pytest.raises(BadParameters, match="--heads does not work for a model whose configuration"):
        applied("prune", {"heads": 1}, "fewer-heads")
    with pytest.raises(BadParameters, match="above the"):
        applied("prune", {"feed_forward": 1000}, "wider")


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_an_artifact_whose_layers_differ_is_trained_averaged_and_imported(model_type: str, tmp_path: Path) -> None:
    context = imported(model_type, tmp_path)
    with_varied(context, tmp_path)
    data = DataFiles([tiny_file(tmp_path)])

    train, average = technique_named("train"), technique_named("average")
    train.apply(Job(context, TASK, "varied", "trained", data), train.read({"max_steps": 1}))
    average.apply(Job(context, TASK, "trained", "averaged", data), average.read({"other": "varied"}))
    folder = context.store.folder(TASK, "varied")
    another = tiny_import(tmp_path / "another", folder, languages=["en", "de"], export=True)

    for name in ("trained", "averaged"):
        assert_serves(context, name)
        assert config_of(context, name)["layer_shapes"] == config_of(context, "varied")["layer_shapes"]
    assert_serves(another, "original")
    found = another.store.folder(TASK, "original")
    assert (found / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert config_of(another, "original")["layer_shapes"] == config_of(context, "varied")["layer_shapes"]


def test_a_plan_and_a_vocabulary_give_the_same_artifact_each_time(tmp_path: Path) -> None:
    digests = set()
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        context = imported("bart", folder)
        plan = varied_plan(load_model(context.store.folder(TASK, "original")), removes_layers=True)
        apply(context, "prune", {"plan": plan.record(), "vocabulary": 0, "max_steps": 2}, "varied", folder)
        digests.add(context.store.manifest(TASK, "varied").digest)
        assert_serves(context, "varied")
        assert config_of(context, "varied")["vocab_size"] < config_of(context, "original")["vocab_size"]

    assert len(digests) == 1


def test_a_summarizer_whose_layers_differ_drafts_from_its_source(tmp_path: Path) -> None:
    """Prompt lookup changes no output."""
    task = Task.SUMMARIZATION
    folder = tiny_model_folder(Family.T5, tmp_path / "model")
    context = tiny_import(tmp_path, folder, task, languages=["en"], max_new_tokens=30, max_input_tokens=40)
    plan = varied_plan(load_model(context.store.folder(task, "original")))
    technique = technique_named("prune")
    job = Job(context, task, "original", "varied", DataFiles([tiny_file(tmp_path)]))
    technique.apply(job, technique.read({"plan": plan.record(), "max_steps": 0}))

    outputs = []
    with open_generator(context.store, task, "varied", "onnxruntime", threads=1) as generator:
        rows = [list(generator.encode(source).ids) for source, _ in SENTENCES[:6]]
        options = generator.manifest.generation.options(num_beams=1)
        outputs.append(generator.runtime.generate(rows, options))
        outputs.append(generator.runtime.generate(rows, options.without_speculation()))
    with open_generator(context.store, task, "varied", "torch", threads=1) as generator:
        outputs.append(generator.runtime.generate(rows, options))
    assert outputs[0] == outputs[1]
    assert [each.ids for each in outputs[0]] == [each.ids for each in outputs[2]]


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_ctranslate2_runs_layers_that_differ_in_feed_forwards_alone(model_type: str, tmp_path: Path) -> None:
    context = imported(model_type, tmp_path)
    plan = whole_plan(load_model(context.store.folder(TASK, "original"))).record()
    plan["encoder"][0]["feed_forward"] -= 24
    for layer in [*plan["encoder"], *plan["decoder"]]:
        # Fewer heads than the width of the model has room for, the same number in all layers.
        layer |= {name: 3 for name in ("heads", "cross_heads") if name in layer}
    apply(context, "prune", {"plan": plan, "max_steps": 0}, "varied", tmp_path)

    add_ctranslate2(context, TASK, "varied")

    assert is_varied(load_model(context.store.folder(TASK, "varied")))
    assert_serves(context, "varied")


def test_what_cannot_read_such_a_model_says_so(tmp_path: Path) -> None:
    context = imported("bart", tmp_path)
    with_varied(context, tmp_path)
    folder = context.store.folder(TASK, "varied")

    with pytest.raises(BadSource, match=r"CTranslate2 has one number of heads .* onnxruntime runs it"):
        add_ctranslate2(context, TASK, "varied")
    with pytest.raises(BadSource, match="--exporter slimseq can"):
        export_with_optimum(folder, tmp_path / "onnx")
    # transformers' own class finds tensors of other shapes, and says which.
    with pytest.raises(RuntimeError, match="mismatch"):
        AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert config_of(context, "varied")["architectures"] == ["ShapedBartForConditionalGeneration"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plan": {"encoder": []}}, "a plan has the layers of `encoder` and of `decoder`"),
        ({"heads": 2}, "heads cannot be combined with `plan`"),
        ({"feed_forward": 0.25}, "feed_forward cannot be combined with `plan`"),
    ],
)
def test_a_recipe_with_a_wrong_plan_is_refused_when_it_is_read(
    change: Mapping[str, Any], words: str, tmp_path: Path
) -> None:
    layer = {"layer": 0, "heads": 2, "feed_forward": 8}
    step = {"plan": {"encoder": [layer], "decoder": [layer | {"cross_heads": 1}]}, **change}
    recipe = {
        "name": "planned",
        "task": "translation",
        "base": {"keep": True},
        "data": {"train": ["train.jsonl"]},
        "variants": {"small": {"steps": [{"prune": step}]}},
    }
    path = tmp_path / "planned.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")

    with pytest.raises(BadRecipe, match=words):
        read_recipe(path)


def test_a_plan_that_the_model_cannot_have_is_refused_before_data_is_read(tmp_path: Path) -> None:
    context = imported("bart", tmp_path)
    plan = varied_plan(load_model(context.store.folder(TASK, "original"))).record()
    plan["encoder"][0]["heads"] = 99
    technique = technique_named("prune")
    job = Job(context, TASK, "original", "varied", DataFiles(["absent.jsonl"]))

    with pytest.raises(BadParameters, match="the plan's encoder layer 0 keeps 99 of 4 heads"):
        technique.apply(job, technique.read({"plan": plan}))


def test_a_step_without_a_plan_has_the_key_that_it_had_before_there_were_plans() -> None:
    """Else every build from before would run all of its steps again."""
    technique, files = technique_named("prune"), DataFiles([])
    settings = technique.settings({"feed_forward": 0.5})
    before = {name: value for name, value in settings.items() if name != "plan"}
    data = [[], [], [], [], files.mixture.record()]

    assert step_key(technique, settings, 0, None, files) == key_of("prune", before, 0, None, data)
    planned = settings | {"plan": {"encoder": []}}
    assert step_key(technique, planned, 0, None, files) != step_key(technique, settings, 0, None, files)
    assert json.dumps(KEY_VERSION) == "1"
