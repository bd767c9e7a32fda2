"""Copies artifacts between stores."""

import shutil

from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.replacing import TEMPORARY
from slimseq.models_store.store import Store


def copy_artifact(source: Store, target: Store, manifest: Manifest) -> None:
    """Copies an artifact, with its exports, to another store, where it has this manifest."""
    from slimseq.compression.artifacts.card import write_card

    task, name = manifest.task, manifest.variant
    with target.writing(task, name) as folder:
        unfinished = shutil.ignore_patterns(f"{TEMPORARY}*", "README.md", "manifest.json")
        shutil.copytree(
            source.folder(task, name), folder, ignore=unfinished, copy_function=shutil.copyfile, dirs_exist_ok=True
        )
        write_manifest(folder, manifest)
        write_card(folder, manifest)


def copy_with_ancestors(source: Store, target: Store, task: Task, variant: str) -> list[str]:
    """Copies an artifact and its ancestors, as far as the source store has them.

    Returns:
        The names of the copied artifacts; an empty list if the source does not have the artifact, or the target has
        another artifact with one of the names.

    Raises:
        CorruptArtifact, InvalidArtifact: the artifact cannot be read.
        CannotWrite: the disk is full or read-only.
    """
    if variant not in source.variants(task):
        return []
    source.verify(task, variant)
    manifest = source.manifest(task, variant)
    parents = {step.parent for step in manifest.lineage}
    entries = [entry.manifest for entry in source.scan() if entry.task is task and entry.manifest is not None]
    wanted = [each for each in entries if each.digest in parents or each.variant == variant]
    missing = [each for each in wanted if not _has(target, each)]
    if any(each.variant in target.variants(task) for each in missing):
        return []
    for each in missing:
        with target.claim(task, each.variant, wait=True):
            if not _has(target, each):
                copy_artifact(source, target, each)
    return [each.variant for each in missing]


def _has(store: Store, manifest: Manifest) -> bool:
    try:
        return store.manifest(manifest.task, manifest.variant).digest == manifest.digest
    except SlimseqError:
        return False
