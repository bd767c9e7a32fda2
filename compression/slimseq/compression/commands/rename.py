"""`rename`: gives an artifact another name."""

import os
import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.card import write_card
from slimseq.compression.commands.options import (
    JsonOption,
    StoreOption,
    TaskArgument,
    open_context,
    print_json,
    print_line,
)
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.publish import check_name
from slimseq.models_store.files import SIGNATURE
from slimseq.models_store.manifest import Task
from slimseq.models_store.replacing import TEMPORARY
from slimseq.models_store.store import write_manifest


def rename_command(
    task: TaskArgument,
    variant: Annotated[str, Parameter(help="Variant to rename.")],
    name: Annotated[str, Parameter(help="Its new name.")],
    /,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rename an artifact: its folder, its manifest and its card. Its digest, its exports and a signature stay valid."""
    context = open_context(store)
    is_signed = rename(context, task, variant, name)
    if as_json:
        print_json({"task": task.value, "variant": name, "before": variant})
        return
    print_line(f"{task}/{variant}: now {task}/{name}")
    if is_signed:
        print_line(f"{SIGNATURE} still holds: it is of the files, and these are the same")


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
