"""One recipe through every technique, on both families: what single tests show apart must also work in a row."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.build import measure
from slimseq.compression.build.build import BuildOptions, build
from slimseq.compression.build.recipe import read_recipe
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_artifact, tiny_context, tiny_file
from tests.families import Family

RECIPE = """
name: everything
task: translation
base: {keep: true}
data:
  train: [train.jsonl]
  dev: [train.jsonl]
  test: [{data: train.jsonl, samples: 4}]
variants:
  wanda: {steps: [prune: {criterion: wanda, feed_forward: 0.5, heads: 2, max_steps: 1}]}
  taylor: {steps: [prune: {criterion: taylor, feed_forward: 0.5, encoder_layers: 1, max_steps: 1}]}
  magnitude: {steps: [prune: {criterion: magnitude, feed_forward: 1, vocabulary: 300, max_steps: 1, alpha: 0}]}
  budget: {steps: [prune: {budget: 0.2, max_steps: 0}]}
  shrunk: {steps: [distill: {decoder_layers: 1, alpha: 0, max_steps: 1}]}
  distilled:
    steps: [distill: {decoder_layers: 1, guided_alignment: 0.1, max_steps: 1}]
  sequence: {steps: [distill: {decoder_layers: 1, sequence_level: replace, max_steps: 1}]}
  int8-dynamic: {steps: [quantize]}
  int8-static: {steps: [quantize: {scheme: int8-static, calibration_samples: 4}]}
  bf16: {steps: [quantize: {scheme: bf16}]}
  ctranslate2: {steps: [quantize: {scheme: ctranslate2-int8}]}
  compact:
    from: distilled
    steps:
      - prune: {feed_forward: 0.5, vocabulary: 300, max_steps: 1}
      - quantize: {scheme: ctranslate2-int8}
    gate: {fewer_parameters: 0.1, smaller: 1.5}
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", list(Family))
def test_a_recipe_takes_every_technique_and_every_variant_generates(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Speed is recorded, but not looked at.
    monkeypatch.setattr(measure, "SAMPLES", 2)
    monkeypatch.setattr(measure, "REPEATS", 1)
    context = replace(tiny_context(tmp_path), may_replace=True)
    tiny_artifact(context, family, tmp_path)
    tiny_file(tmp_path)
    (tmp_path / "everything.yaml").write_text(RECIPE, encoding="utf-8")
    recipe = read_recipe(tmp_path / "everything.yaml")

    built = build(context, recipe, BuildOptions(data_folder=tmp_path, folder=tmp_path / "build"))

    assert sorted(built.built) == sorted(recipe.variants)
    assert built.verdicts["compact"].status == "passed"
    for name in recipe.variants:
        manifest = context.store.manifest(Task.TRANSLATION, name)
        assert {score.samples for score in manifest.quality} == {4}
        assert {speed.batch for speed in manifest.performance} == {1, 16}
        with open_generator(context.store, Task.TRANSLATION, name) as generator:
            (output,) = generator.generate([generator.encode(SENTENCES[0][0])], manifest.generation.options())
        assert output.input_tokens and output.finish_reason in ("eos", "length"), name
