"""Renames an artifact, and says what its removal takes away."""

import os
import shutil
from pathlib import Path

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.artifacts.publish import check_name
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import SIGNATURE, write_manifest
from slimseq.models_store.manifest import Task
from slimseq.models_store.replacing import TEMPORARY
from slimseq.models_store.store import Store


def rename(context: Context, task: Task, variant: str, name: str) -> bool:
    """Gives an artifact another name. A crash leaves it under the old name, the new one, or both.

    Returns:
        Whether the artifact has a signature.

    Raises:
        UnknownVariant, InvalidArtifact: as `Store.manifest` does.
        BadParameters: the new name is no name, or there is an artifact of that name.
        ArtifactInUse: another process is writing one of the two.
        CannotWrite: the disk is full, or may not be written.
    """
    manifest = context.store.manifest(task, variant)
    if name in context.store.variants(task):
        raise BadParameters(f"{task}/{name} exists already; rename or remove that one first")
    check_name(context, task, name)
    source = context.store.folder(task, variant)
    with context.store.claim(task, variant), context.store.writing(task, name) as folder:
        check_name(context, task, name)
        unfinished = shutil.ignore_patterns(f"{TEMPORARY}*", "README.md", "manifest.json")
        shutil.copytree(source, folder, ignore=unfinished, copy_function=_link, dirs_exist_ok=True)
        renamed = manifest.model_copy(update={"variant": name})
        write_manifest(folder, renamed)
        write_card(folder, renamed)
    context.store.remove(task, variant)
    return (context.store.folder(task, name) / SIGNATURE).exists()


def _link(source: str, target: str) -> None:
    """Gives a file a second name, where the file system can do that; the first one goes with the old folder."""
    try:
        os.link(source, target)
    except OSError:
        Path(target).unlink(missing_ok=True)
        shutil.copyfile(source, target)


def bytes_of(store: Store, task: Task, variant: str) -> int:
    """Returns what an artifact takes on disk, exports included; 0 where there is none."""
    return sum(path.lstat().st_size for path in store.folder(task, variant).rglob("*") if not path.is_dir())


def derived_from(store: Store, task: Task, variant: str) -> list[str]:
    """Returns the task's variants that have an artifact in their lineage.

    Raises:
        UnknownVariant: there is no such artifact.
    """
    try:
        digest = store.manifest(task, variant).digest
    except InvalidArtifact:
        # An artifact that cannot be read has no known descendants.
        return []
    return [
        entry.variant
        for entry in store.scan()
        if entry.task is task
        and entry.variant != variant
        and entry.manifest is not None
        and any(step.parent == digest for step in entry.manifest.lineage)
    ]
