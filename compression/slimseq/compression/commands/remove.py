"""`remove`: takes an artifact out of the store."""

from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.commands.options import (
    JsonOption,
    StoreOption,
    TaskArgument,
    open_context,
    print_json,
    print_line,
)
from slimseq.compression.errors import BadParameters
from slimseq.compression.option_groups import COMMON
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


def remove_command(
    task: TaskArgument,
    variant: Annotated[str, Parameter(help="Variant to remove.")],
    /,
    *,
    force: Annotated[
        bool, Parameter(group=COMMON, negative="", help="Remove it even if other variants derive from it.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove an artifact and its exports from the store."""
    context = open_context(store)
    size = bytes_of(context.store, task, variant)
    children = derived_from(context.store, task, variant)
    if children and not force:
        raise BadParameters(
            f"made from {task}/{variant}: {', '.join(f'{task}/{name}' for name in children)}; "
            "--force removes it all the same"
        )
    context.store.remove(task, variant)
    if as_json:
        print_json({"task": task.value, "variant": variant, "bytes": size})
    else:
        print_line(f"{task}/{variant}: removed, {size:,} bytes")


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
        # What nobody can read, nobody can compare with.
        return []
    return [
        entry.variant
        for entry in store.scan()
        if entry.task is task
        and entry.variant != variant
        and entry.manifest is not None
        and any(step.parent == digest for step in entry.manifest.lineage)
    ]
