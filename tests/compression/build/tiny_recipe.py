"""A recipe whose builds take seconds, and a build of it."""

from pathlib import Path

from slimseq.compression.build.build import Built, build
from slimseq.compression.build.recipe import Recipe, read_recipe
from slimseq.compression.context import Context
from slimseq.models_store.manifest import Task

TASK = Task.TRANSLATION


RECIPE = """
name: tiny
task: translation
base: {keep: true}
data: {train: [train.jsonl]}
benchmark: false
variants:
  pruned: {steps: [{prune: {feed_forward: 0.5, max_steps: STEPS, checkpoint_seconds: 0}}]}
  compact:
    from: pruned
    steps:
      - distill: {decoder_layers: 1, max_steps: 2}
      - quantize
"""


def recipe(folder: Path, steps: int = 2, text: str = RECIPE) -> Recipe:
    path = folder / "tiny.yaml"
    path.write_text(text.replace("STEPS", str(steps)), encoding="utf-8")
    return read_recipe(path)


def built(context: Context, folder: Path, recipe: Recipe) -> Built:
    return build(context, recipe, folder, folder / "build")
