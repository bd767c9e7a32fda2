"""The record of derived artifacts: their manifests, by digest, in one file for each task of a store.

The bytes of an int8 artifact depend on the CPU that quantized it, so a store in git has no int8 artifacts. The file
`<task>/derived.json` of the store has the manifests of these artifacts: how each artifact is made, and what was
measured of which bytes. `slimseq prepare` makes the artifacts, and takes the manifest of the bytes that came out from
the file. With `--record` it adds manifests to the file. Tables that must be the same on every machine are made from the
first manifest of each variant.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import read_record, write_text
from slimseq.models_store.json_record import Record
from slimseq.models_store.locks import store_lock
from slimseq.models_store.manifest import Manifest, Task

DERIVED: Final = "derived.json"
# The record of the embedded store has 0.3 MB.
MAX_DERIVED_BYTES = 16 * 1024 * 1024


class DerivedArtifacts(Record):
    schema_version: Literal[1] = 1
    manifests: list[Manifest]


def read_derived(root: Path, task: Task) -> list[Manifest]:
    """Reads the recorded manifests of a task; an empty list if the store has no record."""
    path = root / task.value / DERIVED
    if not path.exists():
        return []
    manifests = read_record(DerivedArtifacts, path, root, MAX_DERIVED_BYTES).manifests
    for each in manifests:
        if each.task is not task:
            raise InvalidArtifact(f"{task}/{DERIVED} has a manifest of {each.task}/{each.variant}")
    return manifests


def record_derived(root: Path, task: Task, found: Sequence[Manifest], stored: Sequence[Manifest]) -> bool:
    """Adds manifests to the record of a task. A manifest replaces an earlier one of the same variant and digest.

    A manifest is removed if the source of its artifact is not among the `stored` artifacts any more. Returns whether
    the file changed.
    """

    def change(before: list[Manifest]) -> list[Manifest]:
        by_digest = {(each.variant, each.digest): each for each in (*before, *found)}
        return [each for each in by_digest.values() if _source(each, stored)]

    return _update(root, task, change)


def forget_derived(root: Path, task: Task, variant: str) -> None:
    """Removes a variant from the record of a task, so that it is not made again."""
    if (root / task.value / DERIVED).exists():
        _update(root, task, lambda before: [each for each in before if each.variant != variant])


def as_recorded(root: Path, stored: Sequence[Manifest]) -> list[Manifest]:
    """Returns a store's manifests.

    For a derived artifact, it is the first recorded manifest, whatever was built here.
    """
    records = {task: read_derived(root, task) for task in {each.task for each in stored}}
    return with_recorded(stored, [each for record in records.values() for each in record])


def with_recorded(stored: Sequence[Manifest], record: Sequence[Manifest]) -> list[Manifest]:
    """Returns manifests. For a derived artifact, it is the first manifest of a record with the same source."""
    built = {(each.task, each.variant): each for each in stored}
    found = dict(built)
    # In reverse, so that the first of several manifests of a variant is the last to be set.
    for each in reversed(record):
        source = _source(each, stored)
        here = built.get((each.task, each.variant))
        has_same_source = here is None or _source(here, stored) == source
        if source is not None and has_same_source:
            found[each.task, each.variant] = each
    return list(found.values())


def _source(manifest: Manifest, stored: Iterable[Manifest]) -> Manifest | None:
    """Returns what a derived artifact is made from: the last artifact in its lineage that the store has."""
    by_digest = {each.digest: each for each in stored if each.variant != manifest.variant}
    for step in reversed(manifest.lineage):
        source = by_digest.get(step.parent or "")
        if source is not None:
            return source
    return None


def _update(root: Path, task: Task, change: Callable[[list[Manifest]], list[Manifest]]) -> bool:
    with store_lock(root):
        before = read_derived(root, task)
        after = change(before)
        if after != before:
            content = DerivedArtifacts(manifests=after).model_dump_json(indent=2) + "\n"
            write_text(root / task.value / DERIVED, content)
        return after != before
