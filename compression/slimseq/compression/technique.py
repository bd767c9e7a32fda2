"""What a technique is: a function that makes one artifact from another, and its options.

A technique is one file or folder: its options, its function, and its `TECHNIQUE`, which recipes apply. One line of
`TECHNIQUES` registers it. Its verb, if it has one, is a function in `slimseq.cli.techniques`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import all_values, check_names, read_options
from slimseq.compression.step_keys import data_digest, key_of
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.models_store.errors import SlimseqError

if TYPE_CHECKING:
    from slimseq.compression.artifacts.outcome import Outcome
    from slimseq.compression.context import Context
    from slimseq.compression.train.data.training_data import DataFiles, Material
    from slimseq.models_store.manifest import Step, Task

# The module of each technique, in the order of a day's work.
TECHNIQUES = {
    "train": "slimseq.compression.train_base",
    "prune": "slimseq.compression.prune.prune",
    "distill": "slimseq.compression.distill",
    "average": "slimseq.compression.average",
    "quantize": "slimseq.compression.quantize.quantize",
    "decode": "slimseq.compression.decode",
}
# Seconds of training if no option ends it: enough for a small model to recover.
DEFAULT_SECONDS = 600.0


@dataclass(frozen=True)
class Job:
    """The input of one application of a technique."""

    context: "Context"
    task: "Task"
    parent: str
    """Variant to start from. Empty if the technique makes a new model."""
    name: str
    """Name of the new variant."""
    files: "DataFiles"
    checkpoint: Path | None = None
    """Folder that a training resumes from, and writes checkpoints to."""
    outputs: Path | None = None
    """Folder for teachers' outputs. The jobs of a build share it."""
    teacher_outputs: Path | None = None
    """File of outputs that `generate --as-is` made of the teacher before."""
    pause_at: int | None = None
    """Number of steps after which a training pauses: `TrainingPaused` is raised, and nothing is published. The same job
    with a later pause or none goes on from the checkpoint."""
    material: "dict[str, Material] | None" = None
    """What jobs of one process have read, by the name of the data. A job of the same original and data reads nothing
    again. None to keep nothing."""


def never(_step: "Step", _settings: Mapping[str, Any]) -> bool:
    return False


@dataclass(frozen=True)
class Technique:
    """A technique: its function, and what the command line and recipes must know of it."""

    name: str
    """Key of a recipe's step, and name of the verb if there is one."""
    run: "Callable[..., Outcome]"
    """Takes a job, and an object of each dataclass in `options`."""
    options: Sequence[type[Any]]
    """Options dataclasses, all of whose fields have defaults."""
    needs_data: bool = False
    """Whether it learns from training data."""
    uses_dev: bool = False
    """Whether it chooses or reports on dev data."""
    requires: str = ""
    """Library without which it does not work at all. Empty for none."""
    did_the_same: "Callable[[Step, Mapping[str, Any]], bool]" = never
    """Whether a recorded step of a technique that this one replaced did what this one does with some settings."""

    @property
    def is_trained(self) -> bool:
        return "max_steps" in self.settings({})

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the value of every option, for a step's key: those of a recipe, and defaults."""
        defaults = all_values([kind() for kind in self.options])
        return {name: values.get(name, default) for name, default in defaults.items()}

    def read(self, values: Mapping[str, Any]) -> list[Any]:
        check_names(self.options, list(values))
        return [read_options(kind, values) for kind in self.options]

    def apply(self, job: Job, options: Sequence[Any]) -> "Outcome":
        """Applies the technique to a job, with one object of each options dataclass.

        Checkpoints of a training are removed once the artifact is published; the log of its losses stays.

        Raises:
            TrainingPaused: the training is at the job's pause. Nothing is published, and the checkpoint stays.
        """
        from slimseq.compression.train.unfinished import discard

        self._check_family(job, options)
        with job.context.working(f"{self.name} {job.task}/{job.parent or job.name}"):
            outcome = self.run(job, *map(_ending, options))
        if job.checkpoint is not None:
            discard(job.checkpoint)
        return outcome

    def _check_family(self, job: Job, options: Sequence[Any]) -> None:
        """Checks, before any data is read, that the technique works for the family of what it starts from."""
        from slimseq.compression.families import check_step
        from slimseq.inference.models.configuration import read_config

        if not job.parent:
            return
        try:
            config = read_config(job.context.store.folder(job.task, job.parent))
        except SlimseqError:  # the technique says what is wrong with what it starts from
            return
        check_step(str(config.get("model_type", "")), self.name, all_values(options))


def step_key(
    technique: Technique, settings: Mapping[str, Any], seed: int, parent: str | None, files: "DataFiles"
) -> str:
    """Returns the key of a step: a hash of its technique, the value of every option, its seed, parent and data.

    `parent` is the digest of the artifact that it starts from.
    """
    named = (files.train, files.calibration, files.dev, files.unlabelled)
    data = [*(data_digest(names) for names in named), files.mixture.record()]
    if files.exclude:
        # Without this condition, builds from before this option would run all their steps again.
        data.append(data_digest(files.exclude))
    if settings.get("plan", 0) is None:
        # Likewise: steps of `prune` before this option have none.
        settings = {name: value for name, value in settings.items() if name != "plan"}
    return key_of(technique.name, settings, seed, parent, data)


def technique_named(name: str) -> Technique:
    if name not in TECHNIQUES:
        raise BadParameters(f"there is no technique {name!r}; there are {', '.join(sorted(TECHNIQUES))}")
    return cast(Technique, importlib.import_module(TECHNIQUES[name]).TECHNIQUE)


def _ending(options: Any) -> Any:
    """Returns options whose training ends: after `DEFAULT_SECONDS` if no option bounds it."""
    if isinstance(options, TrainingOptions) and not options.bounds.is_bounded:
        return replace(options, bounds=Bounds(max_seconds=DEFAULT_SECONDS))
    return options
