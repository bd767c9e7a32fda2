"""`list`: what the store holds."""

from collections.abc import Sequence
from typing import Any

from rich.table import Column, Table

from slimseq.compression.commands.options import (
    JsonOption,
    StoreOption,
    TaskFilter,
    print_json,
    print_table,
    reading_context,
)
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.roots import is_root, lineage_labels, reference_of


def list_command(
    task: TaskFilter = None,
    /,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the artifacts of the store with size, formats and lineage: each base model, and its variants after it."""
    context = reading_context(store)
    entries = [entry for entry in context.store.scan() if task in (None, entry.task)]
    manifests = [entry.manifest for entry in entries if entry.manifest is not None]
    if as_json:
        print_json(
            [
                _described(entry.manifest, manifests)
                if entry.manifest
                else {"task": entry.task.value, "variant": entry.variant, "error": str(entry.error)}
                for entry in entries
            ]
        )
        return
    columns = (Column(name, no_wrap=True) for name in ("task", "variant"))
    table = Table(*columns, "family", "parameters", "MB", "formats", "lineage")
    for entry in entries:
        if entry.manifest is None:
            table.add_row(entry.task.value, entry.variant, f"broken: {entry.error}")
            continue
        formats = set(entry.manifest.size.bytes_by_format)
        formats |= {name for name in DERIVED_FORMATS if context.store.export_of(entry.task, entry.variant, name)}
        table.add_row(
            entry.task.value,
            entry.variant,
            entry.manifest.family.value,
            f"{entry.manifest.size.parameters:,}",
            f"{megabytes(entry.manifest):.1f}",
            ", ".join(sorted(formats)),
            " → ".join(_lineage(entry.manifest, manifests)),
        )
    print_table(table)


def _lineage(manifest: Manifest, manifests: list[Manifest]) -> Sequence[str]:
    """Returns the techniques that made an artifact, a variant's from its reference on."""
    if is_root(manifest):
        return [step.technique for step in manifest.lineage]
    return lineage_labels(manifest, manifests)


def _described(manifest: Manifest, manifests: list[Manifest]) -> dict[str, Any]:
    """Returns a manifest's content, with the reference named also where an older one does not."""
    return manifest.model_copy(update={"reference": reference_of(manifest, manifests)}).model_dump(mode="json")


def megabytes(manifest: Manifest) -> float:
    """Returns the artifact's own weights on disk, in megabytes (10^6 bytes)."""
    return sum(manifest.size.bytes_by_format.values()) / 1e6
