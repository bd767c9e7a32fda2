"""What a technique is: a function that makes one artifact from another, and its options.

A technique is one file or folder: its options, its function, its `command` on the command line, and its `TECHNIQUE`,
which recipes apply. One line in `techniques.py` registers it.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.families import check_step
from slimseq.compression.options import check_names, flat_values, read_options
from slimseq.compression.techniques import FORMER_NAMES, TECHNIQUES
from slimseq.compression.training.options import TrainingOptions
from slimseq.compression.training.schedule import Bounds
from slimseq.inference.models.configuration import read_json
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

if TYPE_CHECKING:
    from slimseq.compression.artifacts.outcome import Outcome
    from slimseq.compression.training.data.pairs import DataFiles

# How long training takes where nothing else ends it: enough for a small model to recover, and short enough to wait for.
DEFAULT_SECONDS = 600.0


@dataclass(frozen=True)
class Job:
    """What one application of a technique works on.

    Args:
        context: store, seed, device and progress.
        task: the artifact's task.
        parent: the artifact to start from; empty where the technique starts from none.
        name: what to call the result.
        files: training, calibration and dev data, and how it is mixed.
        checkpoint: where training is checkpointed and resumed from; None keeps nothing.
        outputs: where what teachers write is kept, for all applications; None keeps nothing.
    """

    context: Context
    task: Task
    parent: str
    name: str
    files: "DataFiles"
    checkpoint: Path | None = None
    outputs: Path | None = None


@dataclass(frozen=True)
class Technique:
    """A technique.

    Args:
        name: its verb, and its key in a recipe.
        run: applies it. Takes the job and one object of each options dataclass.
        options: the options dataclasses. All of their fields have defaults.
        needs_data: whether a recipe must name training data for it.
        takes_folder: whether it may start from a model folder in place of a variant.
        requires: a library without which nothing of it works.
    """

    name: str
    run: "Callable[..., Outcome]"
    options: Sequence[type[Any]]
    needs_data: bool = False
    takes_folder: bool = False
    requires: str = ""

    @property
    def key_name(self) -> str:
        """The name in the keys of finished steps, which a new name does not make stale."""
        return FORMER_NAMES.get(self.name, self.name)

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the value of every option, for a step's key: those of a recipe, and defaults."""
        defaults = {name: value for kind in self.options for name, value in flat_values(kind()).items()}
        return {name: values.get(name, default) for name, default in defaults.items()}

    def read(self, values: Mapping[str, Any]) -> list[Any]:
        """Returns the options objects of a recipe's step.

        Raises:
            BadParameters: a name is unknown or a value is of the wrong type.
        """
        check_names(self.options, list(values))
        return [read_options(kind, values) for kind in self.options]

    def apply(self, job: Job, options: Sequence[Any]) -> "Outcome":
        """Applies the technique.

        Args:
            job: what to work on.
            options: one object of each options dataclass.

        Raises:
            BadParameters: the technique does not work for the model's family, or a value is out of range.
            SlimseqError: whatever the technique itself raises.
        """
        self._check_family(job, options)
        with job.context.working(f"{self.name} {job.task}/{job.parent or job.name}"):
            return self.run(job, *map(_ending, options))

    def _check_family(self, job: Job, options: Sequence[Any]) -> None:
        """Checks, before any data is read, that the technique works for the family of what it starts from."""
        if not job.parent:
            return
        try:
            config = read_json(job.context.store.folder(job.task, job.parent) / "config.json")
        except SlimseqError:  # the technique says what is wrong with what it starts from
            return
        settings = {name: value for each in options for name, value in flat_values(each).items()}
        check_step(str(config.get("model_type", "")), self.name, settings)


def technique_named(name: str) -> Technique:
    """Imports a technique.

    Args:
        name: its name, or the name that an earlier version gave it.

    Raises:
        BadParameters: there is none of that name.
    """
    name = next((new for new, old in FORMER_NAMES.items() if old == name), name)
    if name not in TECHNIQUES:
        raise BadParameters(f"there is no technique {name!r}; there are {', '.join(sorted(TECHNIQUES))}")
    return cast(Technique, importlib.import_module(TECHNIQUES[name][0]).TECHNIQUE)


def _ending(options: Any) -> Any:
    """Returns training options that end: after ten minutes where nothing else ends them."""
    if isinstance(options, TrainingOptions) and not options.bounds.is_bounded:
        return replace(options, bounds=Bounds(max_seconds=DEFAULT_SECONDS))
    return options
