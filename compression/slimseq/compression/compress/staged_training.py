"""Trains a shape in stages: for a short time at first, and to its end only if it turns out to be worth it.

The learning rate is constant until the last part of a training, and does not depend on its end before that. So the
number of steps is decided after the first stage, and the result is that of one training of so many steps, which a
recipe repeats.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimseq.compression.build.recipe import RecipeStep
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.compress.run import Run
from slimseq.compression.technique import Job, technique_named
from slimseq.compression.train.trainer import TrainingPaused

# Steps of a training whose end is not decided. More than there is time for.
UNDECIDED_STEPS = 10**9
WARMUP_STEPS = 20
DECAY_FRACTION = 0.3
TOKENS_PER_BATCH = 2600
# Learning rate for a width of 256, found on dev data for the embedded translator. It falls with the root of the width.
LEARNING_RATE, LEARNING_RATE_WIDTH = 5e-4, 256
# The fewest steps of a training: with fewer, the warm-up would depend on their number.
MIN_STEPS = 10 * WARMUP_STEPS


@dataclass(frozen=True)
class Stage:
    """What is known of a training after its first stage."""

    steps: int
    seconds: float
    """Seconds of training alone."""
    dev_loss: float

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds


def training_options(width: int) -> dict[str, Any]:
    """Returns the options of every training of a run, as a recipe has them."""
    return {
        "learning_rate": round(LEARNING_RATE * math.sqrt(LEARNING_RATE_WIDTH / width), 6),
        "warmup_steps": WARMUP_STEPS,
        "decay_fraction": DECAY_FRACTION,
        "tokens_per_batch": TOKENS_PER_BATCH,
    }


def train_first_stage(run: Run, name: str, step: Mapping[str, Any], steps: int) -> Stage:
    """Trains a shape for a few steps, and keeps a checkpoint from which `finish_training` goes on.

    Args:
        run: the run.
        name: of the candidate.
        step: options of its `prune` step, without an end.
        steps: after which it pauses.
    """
    record = run.folder.find_or_make(f"first stage of {name}, {steps} steps", lambda: _train(run, name, step, steps))
    return Stage(**record)


def _train(run: Run, name: str, step: Mapping[str, Any], steps: int) -> dict[str, Any]:
    technique = technique_named("prune")
    recipe_step = RecipeStep.model_validate({"prune": {**step, "max_steps": UNDECIDED_STEPS}})
    workspace = _workspace(run, recipe_step)
    job = Job(
        context=run.own_context,
        task=run.original.task,
        parent=run.original.variant,
        name=name,
        files=workspace.files(recipe_step),
        checkpoint=first_stage_folder(run, name),
        outputs=run.build_folder,
        pause_at=steps,
    )
    try:
        technique.apply(job, technique.read(recipe_step.options))
    except TrainingPaused as paused:
        if paused.dev_loss is None:
            raise RuntimeError("the training has dev data, but measured no loss on it") from paused
        return asdict(Stage(paused.steps, paused.seconds, paused.dev_loss))
    raise RuntimeError(f"the training of {name} ended before its first stage did")


def move_checkpoint(run: Run, name: str, step: Mapping[str, Any]) -> None:
    """Moves the checkpoint of a first stage to where the build resumes the training with a decided end."""
    recipe_step = RecipeStep.model_validate({"prune": dict(step)})
    workspace = _workspace(run, recipe_step)
    source = first_stage_folder(run, name)
    target = workspace.checkpoint_folder(workspace.key(recipe_step, run.original.digest))
    if source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)


def discard_first_stage(run: Run, name: str) -> None:
    """Removes the checkpoint of a training that does not go on."""
    shutil.rmtree(first_stage_folder(run, name), ignore_errors=True)


def first_stage_folder(run: Run, name: str) -> Path:
    return run.build_folder / "first-stages" / name


def _workspace(run: Run, step: RecipeStep) -> BuildWorkspace:
    recipe = run.recipe_of_step(step)
    return BuildWorkspace(recipe, run.own_context, run.folder.path, run.build_folder)
