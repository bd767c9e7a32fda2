"""Applies a technique to a variant of a store, in the way that all verbs of techniques share.

The name of the new variant is claimed. If the store lacks the variant to start from, an embedded variant of that name
is copied into the store. A training resumes from what an interrupted run of the same command left. `techniques` has the
verbs.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
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


def apply_technique(
    technique: Technique,
    options: Sequence[Any],
    shared: TechniqueOptions,
    task: Task,
    parent: str,
    name: str,
    files: DataFiles | None = None,
    *,
    is_folder: bool = False,
    checkpoint: Path | None = None,
    anew: bool = False,
    workers: int = 1,
) -> None:
    """Makes a variant, and shows what was made.

    Args:
        technique: what makes it.
        options: an object of each of the technique's options dataclasses.
        shared: store, device, seed and form of the answer.
        task: the variant's task.
        parent: variant to start from; a model folder if `is_folder`; empty for nothing.
        name: of the new variant.
        files: the data.
        is_folder: whether `parent` is a model folder.
        checkpoint: folder for a training's checkpoints. None puts them into the store until the training is done.
        anew: whether a training starts again, whatever an interrupted run left.
        workers: number of batches that are generated at a time.

    Raises:
        GateFailed: the training made the variant worse on dev data; the variant is kept.
        SlimseqError: whatever else the technique raises; no variant is made.
    """
    if technique.requires:
        import_module(technique.requires)
    files = files or DataFiles(())
    context = shared.writing(shared.seed, shared.device, shared.force, workers)
    with context.store.claim(task, name):
        copied: list[str] = []
        if parent and not is_folder:
            copied = find_variant(context, task, parent, may_copy=shared.named_store is None)
        job, folder = Job(context, task, parent, name, files), checkpoint
        try:
            if folder is None and technique.is_trained:
                key = _training_key(technique, job, options, is_folder)
                folder = training_folder(context.store.root, task, name, key)
            with ExitStack() as stack:
                if folder is not None:
                    is_in_store = checkpoint is None
                    stack.enter_context(resumable(context, folder, f"{task}/{name}", is_in_store, anew))
                outcome = technique.apply(replace(job, checkpoint=folder, outputs=folder), options)
        except BaseException:
            # The same command goes on from this progress, and needs the parent again.
            if folder is None or not holds_progress(folder):
                _remove(context, task, copied)
            raise
    measure = evaluate_next(context, outcome.manifest, has_own_data=bool(files.dev))
    shared.show(outcome.summary(), *outcome.lines(), measure)
    if outcome.report is not None and outcome.report.got_worse:
        raise GateFailed(f"{task}/{name} is kept, but {outcome.report.worse_in_words}")


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
