"""Applies a technique to a variant of a store, in the way that all verbs of techniques share.

The name of the new variant is claimed. If the store lacks the variant to start from, an embedded variant of that name
is copied into the store. A training resumes from what an interrupted run of the same command left. `techniques` has the
verbs.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from slimseq.cli.arguments import TechniqueOptions, evaluate_next
from slimseq.compression.artifacts.copies import copy_with_ancestors
from slimseq.compression.context import Context
from slimseq.compression.errors import GateFailed
from slimseq.compression.options import all_values
from slimseq.compression.step_keys import folder_digest, key_of
from slimseq.compression.technique import Job, Technique, step_key
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.unfinished import holds_progress, resumable, training_folder
from slimseq.models_store.errors import SlimseqError, UnknownVariant
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

# Options that name further variants, whose weights decide the result too.
OTHER_VARIANTS = ("sequence_teacher", "begin_with")
NO_FILES = DataFiles(())


@dataclass(frozen=True)
class NewVariant:
    """The variant that a command makes, and what it is made of.

    Attributes:
        task: the variant's task.
        name: the variant's name.
        parent: variant to start from; a model folder if `is_folder`; empty for nothing.
        files: the data.
        is_folder: whether `parent` is a model folder.
        teacher_outputs: file of outputs that the teacher has generated before.
    """

    task: Task
    name: str
    parent: str
    files: DataFiles = NO_FILES
    is_folder: bool = False
    teacher_outputs: Path | None = None


@dataclass(frozen=True)
class TrainingRun:
    """How the training of a command runs. Techniques without a training ignore it.

    Attributes:
        checkpoint: folder for checkpoints. None puts them into the store until the training is done.
        anew: whether the training starts again, whatever an interrupted run left.
        workers: number of batches that are generated at a time.
    """

    checkpoint: Path | None = None
    anew: bool = False
    workers: int = 1


USUAL_RUN = TrainingRun()


def apply_technique(
    technique: Technique,
    options: Sequence[Any],
    shared: TechniqueOptions,
    new: NewVariant,
    training: TrainingRun = USUAL_RUN,
) -> None:
    """Makes a variant, and shows what was made.

    Args:
        technique: what makes it.
        options: an object of each of the technique's options dataclasses.
        shared: store, device, seed and form of the answer.
        new: the variant to make, and what it is made of.
        training: how a training runs.

    Raises:
        GateFailed: the training made the variant worse on dev data; the variant is kept.
        SlimseqError: whatever else the technique raises; no variant is made.
    """
    if technique.requires:
        import_module(technique.requires)
    context = shared.writing(shared.seed, shared.device, shared.force, training.workers)
    with context.store.claim(new.task, new.name):
        copied: list[str] = []
        if new.parent and not new.is_folder:
            copied = find_variant(context, new.task, new.parent, may_copy=shared.named_store is None)
        job = Job(context, new.task, new.parent, new.name, new.files, teacher_outputs=new.teacher_outputs)
        # The folder of checkpoints, None without a training.
        folder = training.checkpoint
        try:
            if folder is None and technique.is_trained:
                key = _training_key(technique, job, options, new.is_folder)
                folder = training_folder(context.store.root, new.task, new.name, key)
            with ExitStack() as stack:
                if folder is not None:
                    is_in_store = training.checkpoint is None
                    progress = resumable(context, folder, f"{new.task}/{new.name}", is_in_store, training.anew)
                    stack.enter_context(progress)
                outcome = technique.apply(replace(job, checkpoint=folder, outputs=folder), options)
        except BaseException:
            # With progress in the folder, the same command can go on, and needs the parent again.
            if folder is None or not holds_progress(folder):
                _remove(context, new.task, copied)
            raise

    measure = evaluate_next(context, outcome.manifest, has_own_data=bool(new.files.dev))
    shared.show(outcome.summary(), *outcome.lines(), measure)
    if outcome.report is not None and outcome.report.got_worse:
        raise GateFailed(f"{new.task}/{new.name} is kept, but {outcome.report.worse_in_words}")


def _training_key(technique: Technique, job: Job, options: Sequence[Any], is_folder: bool) -> str:
    """Returns the hash of everything that decides the result of a training.

    A command with the same hash resumes the training. `is_folder` says whether the job starts from a model folder.
    """
    settings = all_values(options)
    start: list[str | None] = []
    if is_folder and Path(job.parent).is_dir():
        start = [*folder_digest(Path(job.parent))]
    elif not is_folder:
        start = [_digest_of(job, job.parent)]
    others = [_digest_of(job, str(settings.get(name) or "")) for name in OTHER_VARIANTS]
    step = step_key(technique, settings, job.context.seed, None, job.files)
    return key_of(step, start, others, job.context.device)


def _digest_of(job: Job, variant: str) -> str | None:
    """Returns the digest of a variant. None if no variant is named, or if it cannot be read: the technique says why."""
    if not variant:
        return None
    try:
        return job.context.store.manifest(job.task, variant).digest
    except SlimseqError:
        return None


def find_variant(context: Context, task: Task, variant: str, may_copy: bool) -> list[str]:
    """Checks that a variant exists. If not, an embedded variant may be copied. Returns the names of the copies."""
    copied: list[str] = []
    known = context.store.variants(task)
    if may_copy and variant not in known:
        embedded = Store(embedded_store())
        copied = copy_with_ancestors(embedded, context.store, task, variant)
        if copied:
            context.say(f"Copied {', '.join(f'{task}/{name}' for name in copied)} from the embedded models")
        elif not known:
            # In an empty store, any embedded variant could have been named.
            raise UnknownVariant(task.value, variant, embedded.variants(task))
    context.store.manifest(task, variant)
    return copied


def _remove(context: Context, task: Task, variants: Sequence[str]) -> None:
    for variant in variants:
        with suppress(SlimseqError):
            context.store.remove(task, variant)
