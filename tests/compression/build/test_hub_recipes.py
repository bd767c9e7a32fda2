"""The recipes that need a hub, whole: models with the hub's layers and heads, and small data sets, from a local hub."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.build.recipe import shipped_recipe
from slimseq.models_store.manifest import Manifest, Task
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


@pytest.mark.parametrize(
    ("recipe", "task", "family", "model", "dataset", "make", "write"),
    [
        (
            "cnn_dailymail-t5", Task.SUMMARIZATION, Family.T5, "google-t5/t5-small", "abisee/cnn_dailymail",
            t5_small, write_cnn_dailymail,
        ),
        ("wmt14-bart", Task.TRANSLATION, Family.BART, "facebook/bart-base", "wmt/wmt14", bart_base, write_wmt14),
    ],
    ids=["cnn_dailymail-t5", "wmt14-bart"],
)  # fmt: skip
def test_a_recipe_runs_whole(
    tmp_path: Path,
    recipe: str,
    task: Task,
    family: Family,
    model: str,
    dataset: str,
    make: Callable[..., Any],
    write: Callable[[Path, int], Path],
) -> None:
    import torch

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
    assert manifests["pruned"].size.parameters < manifests["distilled"].size.parameters < original_of(manifests)
    assert manifests["compact"].gate is not None
    assert [step.technique for step in manifests["compact"].lineage[-3:]] == ["distill", "prune", "quantize"]


def original_of(manifests: dict[str, Manifest]) -> int:
    return manifests["original"].size.parameters
