from pathlib import Path

import pytest

from benchmarks.ablation import ablation
from slimseq.compression.build.recipe import read_recipe
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file
from tests.families import Family

RECIPE = """
name: tiny
task: translation
base: {keep: true}
benchmark: false
data: {train: [train.jsonl], test: [{data: train.jsonl, samples: 3}]}
variants:
  importance.wanda: {steps: [prune: {criterion: wanda, max_steps: 1}]}
  importance.random: {steps: [prune: {criterion: random, max_steps: 1}]}
  scheme.bf16: {steps: [quantize: {scheme: bf16}]}
"""


@pytest.mark.parametrize("family", list(Family))
def test_every_option_is_measured_beside_the_original_which_stays_as_it_was(family: Family, tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    original = tiny_artifact(context, family, tmp_path)
    tiny_file(tmp_path)
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")

    (found,) = ablation(context, read_recipe(tmp_path / "tiny.yaml"), tmp_path, tmp_path / "build")

    assert [(row.group, row.name) for row in found.rows] == [
        ("importance", "wanda"),
        ("importance", "random"),
        ("scheme", "bf16"),
    ]
    assert found.samples == 3 and all(row.interval is not None for row in found.rows)
    assert context.store.manifest(original.task, "original") == original
    assert context.store.variants(original.task) == ["original"]
