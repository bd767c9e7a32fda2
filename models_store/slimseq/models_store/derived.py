"""The record of derived artifacts: their manifests, by digest, in one file for each task of a store.

The bytes of an int8 artifact depend on the CPU that quantized it, so that a store in git holds no such artifact. Its
`<task>/derived.json` has their manifests: how each is made, and what was measured of which bytes. `slimseq prepare`
makes the artifacts, takes the manifest of the bytes that came out, and with `--record` adds to the file. Tables that
must be the same on every machine are made from the first manifest of each variant.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import check_inside, write_text
from slimseq.models_store.locks import store_lock
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.record import Record, first_error

DERIVED: Final = "derived.json"


class DerivedArtifacts(Record):
    """The content of `derived.json`."""

    schema_version: Literal[1] = 1
    manifests: list[Manifest]


def read_derived(root: Path, task: Task) -> list[Manifest]:
    """Reads the recorded manifests of a task; an empty list if the store has no record.

    Raises:
        InvalidArtifact: the file cannot be read, or has a manifest of another task.
    """
    path = root / task.value / DERIVED
    if not path.exists():
        return []
    name = f"{task}/{DERIVED}"
    check_inside(path, root, name)
    try:
        manifests = DerivedArtifacts.model_validate_json(path.read_bytes()).manifests
    except ValidationError as error:
        raise InvalidArtifact(f"{name} cannot be read: {first_error(error, 'the file')}") from error
    except OSError as error:
        raise InvalidArtifact(f"{name} cannot be read: {error.strerror}") from error
    if other := next((each for each in manifests if each.task is not task), None):
        raise InvalidArtifact(f"{name} has a manifest of {other.task}/{other.variant}")
    return manifests


def record_derived(root: Path, task: Task, found: Sequence[Manifest], stored: Sequence[Manifest]) -> bool:
    """Adds manifests to the record of a task, each in place of an earlier one of the same variant and digest.

    Manifests of artifacts whose source is no longer in the store are removed.

    Args:
        root: the store's folder.
        task: the task.
        found: the manifests to add.
        stored: all manifests of the task in the store.

    Returns:
        Whether the file changed.

    Raises:
        InvalidArtifact: the file cannot be read.
        CannotWrite: the disk is full or read-only.
    """
    with store_lock(root):
        before = read_derived(root, task)
        new = {(each.variant, each.digest): each for each in found}
        kept = [new.pop((each.variant, each.digest), each) for each in before]
        return _write(root, task, before, [each for each in (*kept, *new.values()) if source_of(each, stored)])


def forget_derived(root: Path, task: Task, variant: str) -> None:
    """Removes a variant from the record of a task, so that it is not made again.

    Raises:
        InvalidArtifact: the file cannot be read.
        CannotWrite: the disk is full or read-only.
    """
    if not (root / task.value / DERIVED).exists():
        return
    with store_lock(root):
        before = read_derived(root, task)
        _write(root, task, before, [each for each in before if each.variant != variant])


def source_of(manifest: Manifest, stored: Iterable[Manifest]) -> Manifest | None:
    """Returns the artifact that a derived one is made from: the last one in its lineage that the store has.

    Args:
        manifest: of the derived artifact.
        stored: the manifests of the store.
    """
    of_digest = {each.digest: each for each in stored if each.variant != manifest.variant}
    sources = (of_digest.get(step.parent or "") for step in reversed(manifest.lineage))
    return next((source for source in sources if source is not None), None)


def as_recorded(root: Path, stored: Sequence[Manifest]) -> list[Manifest]:
    """Returns a store's manifests, derived artifacts with the first recorded manifest, whatever was built here.

    Args:
        root: the store's folder.
        stored: the manifests of the store.

    Raises:
        InvalidArtifact: a record cannot be read.
    """
    found = {(each.task, each.variant): each for each in stored}
    for task in {each.task for each in stored}:
        first = {each.variant: each for each in reversed(read_derived(root, task)) if source_of(each, stored)}
        for name, recorded in first.items():
            built = found.get((task, name))
            if built is None or _source_digest(built, stored) == _source_digest(recorded, stored):
                found[task, name] = recorded
    return list(found.values())


def _source_digest(manifest: Manifest, stored: Sequence[Manifest]) -> str | None:
    source = source_of(manifest, stored)
    return None if source is None else source.digest


def _write(root: Path, task: Task, before: Sequence[Manifest], after: Sequence[Manifest]) -> bool:
    if list(after) == list(before):
        return False
    content = DerivedArtifacts(manifests=list(after)).model_dump_json(indent=2) + "\n"
    write_text(root / task.value / DERIVED, content)
    return True
