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
from slimseq.compression.compress.start.changed_options import AT_STEP
from slimseq.compression.technique import Job, technique_named
from slimseq.compression.train.trainer import TrainingPaused

# Steps of a training whose end is not decided. More than there is time for.
UNDECIDED_STEPS = 10**9
WARMUP_STEPS = 20
DECAY_FRACTION = 0.3
TOKENS_PER_BATCH = 2600
# Learning rate for a width of 256. It falls with the root of the width. Measured on the embedded translator to
# Portuguese, by the loss on 600 held-out pairs. A mild cut (loss .495 before the training): .00005, .00015 and .0005
# lead to .465, .461 and .519 in 80 steps, and .00015 and .0003 to .419 and .429 in 400 steps. A stronger cut (.996)
# wants more: .00015 and .0003 lead to .677 and .654 in 200 steps. This value is between.
LEARNING_RATE, LEARNING_RATE_WIDTH = 2e-4, 256
# The fewest steps of a training: with fewer, the warm-up would depend on their number.
MIN_STEPS = 10 * WARMUP_STEPS
# Shares of a training at which it is checked that it will end in time.
MILESTONES = (0.25, 0.5, 0.75)


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
    """Trains a shape for a few steps, and keeps a checkpoint from which `finish_in_time` goes on.

    Args:
        run: the run.
        name: of the candidate.
        step: options of its `prune` step, without an end.
        steps: after which it pauses.
    """

    def train() -> dict[str, Any]:
        endless = {**step, "max_steps": UNDECIDED_STEPS}
        return asdict(_train_until(run, name, endless, steps, first_stage_folder(run, name)))

    return Stage(**run.folder.find_or_make(f"first stage of {name}, {steps} steps", train))


def finish_in_time(run: Run, name: str, step: Mapping[str, Any], steps: int, stage: Stage) -> bool:
    """Trains a shape nearly to its decided end, which a build then finishes; or gives it up if that takes too long.

    A training may become slower than it was, for example because other processes need the machine. The time of the run
    is a promise, so that such a training is given up at one of its milestones.

    Args:
        run: the run.
        name: of the candidate.
        step: options of its `prune` step, with its end.
        steps: number of steps at its end.
        stage: what is known from its first stage.

    Returns:
        Whether it will end in time.
    """
    folder = _checkpoint_of_build(run, name, step)
    for share in MILESTONES:
        milestone = int(share * steps)
        if milestone <= stage.steps:
            continue

        def reach(milestone: int = milestone, before: Stage = stage) -> dict[str, Any]:
            reached = _train_until(run, name, step, milestone, folder)
            seconds_of_step = (reached.seconds - before.seconds) / (reached.steps - before.steps)
            is_in_time = run.folder.seconds + (steps - reached.steps) * seconds_of_step <= run.plan.training_end
            return {"stage": asdict(reached), "is_in_time": is_in_time}

        found = run.folder.find_or_make(f"{name}{AT_STEP}{milestone}", reach)
        if not found["is_in_time"]:
            return False
        stage = Stage(**found["stage"])
    return True


def _train_until(run: Run, name: str, step: Mapping[str, Any], pause_at: int, folder: Path) -> Stage:
    """Trains a shape from what a checkpoint folder has to a step, at which it pauses."""
    technique = technique_named("prune")
    recipe_step = RecipeStep.model_validate({"prune": dict(step)})
    workspace = _workspace(run, recipe_step)
    job = Job(
        context=run.own_context,
        task=run.original.task,
        parent=run.original.variant,
        name=name,
        files=workspace.files(recipe_step),
        checkpoint=folder,
        outputs=run.build_folder,
        pause_at=pause_at,
        material=run.material,
    )
    try:
        technique.apply(job, technique.read(recipe_step.options))
    except TrainingPaused as paused:
        if paused.dev_loss is None:
            raise RuntimeError("the training has dev data, but measured no loss on it") from paused
        return Stage(paused.steps, paused.seconds, paused.dev_loss)
    raise RuntimeError(f"the training of {name} ended before step {pause_at}")


def _checkpoint_of_build(run: Run, name: str, step: Mapping[str, Any]) -> Path:
    """Moves the checkpoint of a first stage to where a build resumes the step from it; returns that folder."""
    recipe_step = RecipeStep.model_validate({"prune": dict(step)})
    workspace = _workspace(run, recipe_step)
    source = first_stage_folder(run, name)
    target = workspace.checkpoint_folder(workspace.key(recipe_step, run.original.digest))
    if source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    return target


def discard_first_stage(run: Run, name: str) -> None:
    """Removes the checkpoint of a training that does not go on."""
    shutil.rmtree(first_stage_folder(run, name), ignore_errors=True)


def first_stage_folder(run: Run, name: str) -> Path:
    return run.build_folder / "first-stages" / name


def _workspace(run: Run, step: RecipeStep) -> BuildWorkspace:
    recipe = run.recipe_of_step(step)
    return BuildWorkspace(recipe, run.own_context, run.folder.path, run.build_folder)
