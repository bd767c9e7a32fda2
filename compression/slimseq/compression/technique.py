"""What a technique is: a function that makes one artifact from another, its options, and its verb.

A technique is one file or folder: its options, its function, its `command` on the command line, and its `TECHNIQUE`,
which recipes apply. One line in `techniques.py` registers it.
"""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from slimseq.compression.artifacts.copies import copy_with_ancestors
from slimseq.compression.commands.arguments import (
    DeviceOption,
    ForceOption,
    JsonOption,
    SeedOption,
    StoreOption,
    named_store,
    open_context,
    print_json,
    print_line,
    require,
)
from slimseq.compression.commands.next_step import evaluate_next
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.families import check_step
from slimseq.compression.options import COMMON, DATA, OUTPUT, UNUSED, check_names, flat, flat_values, read_options
from slimseq.compression.techniques import FORMER_DEFAULTS, FORMER_NAMES, TECHNIQUES
from slimseq.compression.training.options import TrainingOptions
from slimseq.compression.training.schedule import Bounds
from slimseq.inference.models.configuration import read_json
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.replacing import TEMPORARY
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from slimseq.compression.artifacts.outcome import Outcome
    from slimseq.compression.training.data.pairs import DataFiles

# Seconds of training if no option ends it: enough for a small model to recover.
DEFAULT_SECONDS = 600.0

NameOption = Annotated[str, Parameter(group=COMMON, help="Name of the new variant.")]
CheckpointOption = Annotated[
    Path | None, Parameter(group=DATA, help="Folder for checkpoints. The same command resumes from there.")
]


@flat(OUTPUT)
@dataclass(frozen=True)
class CommonOptions:
    """Options of every technique's verb."""

    store: StoreOption = None
    force: ForceOption = False
    seed: SeedOption = 0
    device: DeviceOption = "cpu"
    as_json: JsonOption = False


@flat(OUTPUT)
@dataclass(frozen=True)
class WithoutSeed(CommonOptions):
    """Options of the verb of a technique that chooses nothing at random and opens no PyTorch model."""

    seed: Annotated[int, UNUSED] = 0
    device: Annotated[str, UNUSED] = "cpu"


@dataclass(frozen=True)
class Job:
    """The input of one application of a technique.

    Args:
        context: store, seed, device and progress.
        task: the artifact's task.
        parent: the artifact to start from; empty where the technique starts from none.
        name: of the new artifact.
        files: training, calibration and dev data, and their mixture.
        checkpoint: folder for checkpoints, which training resumes from; None for none.
        outputs: folder for outputs of teachers, shared by all applications; None for none.
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
        """Returns the value of every option, for a step's key: those of a recipe, and defaults.

        A default that has changed is the former one, so that older keys stay valid.
        """
        defaults = {name: value for kind in self.options for name, value in flat_values(kind()).items()}
        return {name: values.get(name, FORMER_DEFAULTS.get(name, default)) for name, default in defaults.items()}

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


def apply_technique(
    technique: Technique,
    task: Task,
    parent: str,
    name: str,
    files: "DataFiles",
    options: Sequence[Any],
    common: CommonOptions,
    checkpoint: Path | None = None,
    workers: int = 1,
) -> None:
    """Applies a technique as the command line asks for it, and prints what came of it.

    Args:
        technique: the technique.
        task: the task.
        parent: the variant to start from; for `train` also a model folder, or empty for a new model.
        name: what to call the result.
        files: the data.
        options: one object of each of the technique's options dataclasses.
        common: store, seed, device and output.
        checkpoint: where training is checkpointed and resumed from.
        workers: number of processes that generate as a teacher.

    Raises:
        SlimseqError: whatever the technique raises.
    """
    if technique.requires:
        require(technique.requires)
    context = open_context(common.store, common.seed, common.device, common.force, workers)
    is_folder = technique.takes_folder and ("/" in parent or Path(parent).is_dir())
    is_store_named = named_store(common.store) is not None
    job = Job(context, task, parent, name, files, checkpoint, outputs=checkpoint)
    # Of processes that a launcher started, the first one publishes.
    is_main = os.environ.get("RANK", "0") == "0"
    with (
        _parent_in_store(context, task, parent, is_store_named) if parent and not is_folder else nullcontext(),
        context.store.claim(task, name) if is_main else nullcontext(),
    ):
        outcome = technique.apply(job, options)
    if common.as_json:
        print_json(outcome.summary())
        return
    for line in outcome.lines():
        print_line(line)
    print_line(evaluate_next(context, outcome.manifest, next(iter(files.dev), None)))


@contextmanager
def _parent_in_store(context: Context, task: Task, parent: str, is_store_named: bool) -> Iterator[None]:
    """Checks that the parent exists; if no store is named, copies an embedded parent into the user's own store.

    If the block fails and the store holds nothing else, the copies are removed.

    Raises:
        UnknownVariant: it is in neither.
    """
    store, copied = context.store, list[str]()
    if not is_store_named and parent not in context.store.variants(task):
        copied = copy_with_ancestors(Store(embedded_store()), store, task, parent)
        if copied:
            context.say(f"Copied {', '.join(f'{task}/{name}' for name in copied)} from the embedded models")
    store.manifest(task, parent)
    try:
        yield
    except BaseException:
        holds = {(entry.task, entry.variant) for entry in store.scan()}
        # Another command in the same folder may have begun with a copy.
        is_in_use = any(store.root.glob(f"*/{TEMPORARY}*"))
        if copied and holds == {(task, name) for name in copied} and not is_in_use:
            for name in copied:
                store.remove(task, name)
        raise
