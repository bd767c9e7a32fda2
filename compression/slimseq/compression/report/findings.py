"""Collects the tables that techniques recorded in their lineage steps: importance of parts, pruning candidates.

A table may have any columns, so that a technique can record more without a change here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimseq.models_store.manifest import Manifest, Step

KINDS = {
    "importance": "Importance of each part",
    "tried": "Shapes tried by pruning",
}


@dataclass(frozen=True)
class Finding:
    """One table that a step recorded.

    Attributes:
        kind: `importance` or `tried`, the step's parameter.
        part: which of several tables of that parameter; empty if there is one.
        technique: of the step.
        variants: all variants with this step in their lineage, shortest lineage first.
        columns: names, in order of appearance.
        rows: values by column; columns may be missing.
    """

    kind: str
    part: str
    technique: str
    variants: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        return KINDS[self.kind] + (f": {self.part.replace('_', ' ')}" if self.part else "")

    def is_number(self, column: str) -> bool:
        values = [row.get(column) for row in self.rows]
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def findings_of(manifests: Sequence[Manifest]) -> list[Finding]:
    """Returns all tables that the steps of some variants recorded, each step once."""
    shared: dict[str, tuple[Step, list[Manifest]]] = {}
    for manifest in manifests:
        for step in manifest.lineage:
            shared.setdefault(step.model_dump_json(), (step, []))[1].append(manifest)
    found = []
    for step, owners in shared.values():
        names = tuple(owner.variant for owner in sorted(owners, key=lambda owner: len(owner.lineage)))
        for kind in KINDS:
            for part, rows in _tables(step.parameters.get(kind)):
                flat = tuple(_flat(row) for row in rows)
                columns = tuple(dict.fromkeys(name for row in flat for name in row))
                found.append(Finding(kind, part, step.technique, names, columns, flat))
    return found


def _tables(value: Any) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yields the tables of a parameter: a list of rows is one table, a mapping of lists has several."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from ((" ".join(filter(None, (str(name), deeper))), rows) for deeper, rows in _tables(part))
    elif isinstance(value, list):
        rows = [row for row in value if isinstance(row, Mapping)]
        if rows:
            yield "", rows


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Moves the entries of nested mappings into the row, with a prefix if their names are taken."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}" if inner in row else str(inner): each for inner, each in value.items()}
        else:
            flat[str(name)] = value
    return flat
