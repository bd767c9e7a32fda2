"""What a technique is: something that makes one artifact of another. A new one is one file in `techniques/`.

Its verb on the command line and its step in a recipe are made from the same object, so that both take the same
options under the same names.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slimseq.compression import techniques
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.families import check_step
from slimseq.compression.fields import OptionField, check_names, fields_of, filled
from slimseq.inference.models.configuration import read_json
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

if TYPE_CHECKING:
    from slimseq.compression.outcome import Outcome
    from slimseq.compression.training.data import DataFiles

# What ends a training, and where nothing does: enough for a small model to recover, and short enough to wait for.
BOUNDS = ("max_steps", "max_seconds", "epochs")
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
        name: its verb.
        run: applies it; takes the job and one object for each options dataclass that its signature names. Its
            docstring is the verb's help.
        default_name: what results are called where nobody says.
        default_parent: what is started from where nobody says; None insists on a parent, empty starts from none.
        defaults: values in place of the options' own defaults.
        flags: flags in place of those made from fields' names.
        data: whether training data must be named, may be, or is of no use; `dev`: what is measured on alone.
    """

    name: str
    run: "Callable[..., Outcome]"
    default_name: str
    default_parent: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    data: Literal["needed", "taken", "dev", "unused"] = "needed"

    @property
    def option_types(self) -> list[type[Any]]:
        """The options dataclasses, in the order of `run`'s parameters."""
        hints = typing.get_type_hints(self.run)
        return [hints[name] for name in list(inspect.signature(self.run).parameters)[1:]]

    def fields(self) -> list[OptionField]:
        """Returns all options as flat fields, with this technique's defaults."""
        found = [field for kind in self.option_types for field in fields_of(kind)]
        return [
            OptionField(field.name, field.type, self.defaults.get(field.name, field.default), field.help)
            for field in found
        ]

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the value of every option, for a step's record and its key."""
        return {field.name: values.get(field.name, field.default) for field in self.fields()}

    def apply(self, job: Job, values: Mapping[str, Any]) -> "Outcome":
        """Applies the technique.

        Args:
            job: what to work on.
            values: options by their flat names; what is not named keeps its default.

        Raises:
            BadParameters: a name is unknown, a value is of the wrong kind or out of range.
            SlimseqError: whatever the technique itself raises.
        """
        options = self.options(values)
        self.check_family(job, values)
        with job.context.working(f"{self.name} {job.task}/{job.parent or job.name}"):
            return self.run(job, *options)

    def check_family(self, job: Job, values: Mapping[str, Any]) -> None:
        """Checks, before any data is read, that the technique works for the family of what it starts from.

        Raises:
            BadParameters: it does not.
        """
        if not job.parent:
            return
        try:
            config = read_json(job.context.store.folder(job.task, job.parent) / "config.json")
        except SlimseqError:  # the technique says what is wrong with what it starts from
            return
        check_step(str(config.get("model_type", "")), self.name, self.settings(values))

    def options(self, values: Mapping[str, Any]) -> list[Any]:
        """Returns the options objects of flat values.

        Raises:
            BadParameters: a name is unknown or a value is of the wrong kind.
        """
        check_names(self.option_types, list(values))
        bounds = {name for name in BOUNDS if any(field.name == name for field in self.fields())}
        unbounded = bounds and all(values.get(name) is None for name in bounds)
        chosen = {**self.defaults, **values} | ({"max_seconds": DEFAULT_SECONDS} if unbounded else {})
        return [filled(kind, chosen) for kind in self.option_types]


def technique_names() -> list[str]:
    """Returns the names of all techniques, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(techniques.__path__))


def technique_named(name: str) -> Technique:
    """Imports a technique.

    Raises:
        BadParameters: there is none of that name.
    """
    if name not in technique_names():
        raise BadParameters(f"there is no technique {name!r}; there are {', '.join(technique_names())}")
    return typing.cast(Technique, importlib.import_module(f"slimseq.compression.techniques.{name}").TECHNIQUE)
