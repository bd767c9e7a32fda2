"""Copies artifacts between stores, and renames them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.artifacts.publish import check_name
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.files import SIGNATURE, write_manifest
from slimseq.models_store.lineage import reference_of
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.replacing import TEMPORARY
from slimseq.models_store.store import Store


def copy_artifact(source: Store, target: Store, manifest: Manifest) -> None:
    """Copies an artifact, with its exports, to another store, where it has this manifest."""
    with target.writing(manifest.task, manifest.variant) as folder:
        _fill(folder, source.folder(manifest.task, manifest.variant), manifest, shutil.copyfile)


def copy_with_ancestors(source: Store, target: Store, task: Task, variant: str) -> list[str]:
    """Copies an artifact and those of its ancestors that the source store has. Returns the copied names.

    Nothing is copied if the source lacks the artifact, or if the target has a different artifact of one of the names.
    """
    if variant not in source.variants(task):
        return []
    source.verify(task, variant)
    parents = {step.parent for step in source.manifest(task, variant).lineage}
    wanted = [each for each in source.manifests(task) if each.digest in parents or each.variant == variant]
    missing = [each for each in wanted if not _has(target, each)]
    if any(each.variant in target.variants(task) for each in missing):
        return []
    for each in missing:
        with target.claim(task, each.variant, wait=True):
            if not _has(target, each):
                copy_artifact(source, target, each)
    return [each.variant for each in missing]


def rename(context: Context, task: Task, variant: str, name: str) -> bool:
    """Renames an artifact. Returns whether it is signed.

    A crash leaves the artifact under the old name, the new name, or both.
    """
    manifest = context.store.manifest(task, variant)
    if name in context.store.variants(task):
        raise BadParameters(f"{task}/{name} exists already; rename or remove that one first")
    check_name(context, task, name)
    source = context.store.folder(task, variant)
    renamed = manifest.model_copy(update={"variant": name})
    reference = reference_of(renamed, [renamed, *context.store.manifests(task)])
    with context.store.claim(task, variant), context.store.writing(task, name) as folder:
        check_name(context, task, name)
        _fill(folder, source, renamed.model_copy(update={"reference": reference}), _link)
    context.store.remove(task, variant)
    return (context.store.folder(task, name) / SIGNATURE).exists()


def derived_from(store: Store, task: Task, variant: str) -> list[str]:
    """Returns the variants that have an artifact in their lineage. None, if the artifact's manifest cannot be read."""
    try:
        digest = store.manifest(task, variant).digest
    except InvalidArtifact:
        return []
    others = [each for each in store.manifests(task) if each.variant != variant]
    return [each.variant for each in others if any(step.parent == digest for step in each.lineage)]


def _fill(folder: Path, source: Path, manifest: Manifest, copy: Callable[[str, str], object]) -> None:
    """Copies an artifact's files into a folder, with another manifest and its card. `copy` copies one file."""
    left_out = shutil.ignore_patterns(f"{TEMPORARY}*", "README.md", "manifest.json")
    # No artifact has a link. If somebody put one there, the link is copied and not the file that it leads to.
    shutil.copytree(source, folder, symlinks=True, ignore=left_out, copy_function=copy, dirs_exist_ok=True)
    write_manifest(folder, manifest)
    write_card(folder, manifest)


def _has(store: Store, manifest: Manifest) -> bool:
    try:
        return store.manifest(manifest.task, manifest.variant).digest == manifest.digest
    except SlimseqError:
        return False


def _link(source: str, target: str) -> None:
    """Makes a hard link, or a copy if the file system has no hard links. The old name goes with the old folder."""
    try:
        os.link(source, target)
    except OSError:
        Path(target).unlink(missing_ok=True)
        shutil.copyfile(source, target)
