"""What the verbs of all techniques share: the options of every one, and how a technique is applied and answers."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from slimseq.compression.options import COMMON, DATA, OUTPUT, flat
from slimseq.compression.technique import Job, Technique
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from slimseq.compression.training.data.pairs import DataFiles

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


def apply_technique(
    technique: Technique,
    task: Task,
    parent: str,
    name: str,
    files: "DataFiles",
    options: Sequence[Any],
    common: CommonOptions,
    checkpoint: Path | None = None,
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

    Raises:
        SlimseqError: whatever the technique raises.
    """
    if technique.requires:
        require(technique.requires)
    context = open_context(common.store, common.seed, common.device, common.force)
    is_folder = technique.takes_folder and ("/" in parent or Path(parent).is_dir())
    if parent and not is_folder:
        _find_parent(context, task, parent, is_store_named=named_store(common.store) is not None)
    job = Job(context, task, parent, name, files, checkpoint, outputs=checkpoint)
    # Of processes that a launcher started, the first one publishes.
    is_main = os.environ.get("RANK", "0") == "0"
    with context.store.claim(task, name) if is_main else nullcontext():
        outcome = technique.apply(job, options)
    if common.as_json:
        print_json(outcome.summary())
        return
    for line in outcome.lines():
        print_line(line)
    print_line(evaluate_next(context, outcome.manifest, next(iter(files.dev), None)))


def _find_parent(context: Context, task: Task, parent: str, is_store_named: bool) -> None:
    """Checks that the parent is there; where nobody named a store, brings an embedded one into the user's own.

    Raises:
        UnknownVariant: it is in neither.
    """
    if not is_store_named and parent not in context.store.variants(task):
        copied = copy_with_ancestors(Store(embedded_store()), context.store, task, parent)
        if copied:
            context.say(f"Copied {', '.join(f'{task}/{name}' for name in copied)} from the embedded models")
    context.store.manifest(task, parent)
