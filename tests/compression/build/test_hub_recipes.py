"""The recipes that need a hub, whole: models with the hub's layers and heads, and small data sets, from a local hub."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slimseq.compression.build.recipe import shipped_recipe
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.families import Family
from tests.hub import HubHandler, running_hub
from tests.hub_content import bart_base, t5_small, write_cnn_dailymail, write_hub_model, write_wmt14

VARIANTS = ("quantized", "pruned", "distilled", "compact")
GATE_FAILED = 2
ROWS = 4
# Of both models; their heads are 8 wide and more.
NARROW = {"width": 96, "vocabulary": 512}


def in_short(recipe: str) -> str:
    """Returns a recipe without timings, whose outputs are 8 tokens long: random weights never end one by themselves."""
    text, count = re.subn(r"max_new_tokens: \d+", "max_new_tokens: 8", shipped_recipe(recipe).read_text("utf-8"))
    assert count == 1
    return f"{text}benchmark: false\n"


# Task, family, model and data set of each, and what makes and writes the two.
RECIPES: dict[str, tuple[Task, Family, str, str, Callable[..., Any], Callable[[Path, int], Path]]] = {
    "cnn_dailymail-t5": (
        Task.SUMMARIZATION, Family.T5, "google-t5/t5-small", "abisee/cnn_dailymail", t5_small, write_cnn_dailymail,
    ),
    "wmt14-bart": (Task.TRANSLATION, Family.BART, "facebook/bart-base", "wmt/wmt14", bart_base, write_wmt14),
}  # fmt: skip


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_recipe_runs_whole(tmp_path: Path, recipe: str) -> None:
    task, family, model, dataset, make, write = RECIPES[recipe]
    torch.manual_seed(0)
    (tmp_path / "recipe.yaml").write_text(in_short(recipe), encoding="utf-8")
    models = {model: write_hub_model(make(**NARROW), family, tmp_path / "model", tmp_path / "tokenizer")}
    datasets = {dataset: write(tmp_path / "dataset", ROWS)}
    places = ("--store", tmp_path / "store", "--build-folder", tmp_path / "build")
    with running_hub(models, datasets) as endpoint:
        built = compression(
            "build", tmp_path / "recipe.yaml", *places, "--json", HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "home")
        )
        assert any("resolve" in asked and asked.endswith(".parquet") for asked in HubHandler.asked)

    # Random weights write nonsense, which a gate must not let through.
    assert built.code == GATE_FAILED, built.error
    assert built.json["built"] == ["original", *VARIANTS]
    store = Store(tmp_path / "store")
    manifests = {name: store.manifest(task, name) for name in ("original", *VARIANTS)}
    for manifest in manifests.values():
        store.verify(task, manifest.variant)
        assert {score.samples for score in manifest.quality} == {ROWS}
    sizes = [manifests[name].size.parameters for name in ("pruned", "distilled", "original")]
    assert sizes == sorted(set(sizes))
    assert manifests["compact"].gate is not None
    assert [step.technique for step in manifests["compact"].lineage[-3:]] == ["distill", "prune", "quantize"]
