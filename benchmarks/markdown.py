"""Tables and machines in Markdown, for the pages under `docs/` that are made of what benchmarks wrote."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields a table's lines; the first column is of words, the others of figures."""
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def taken_on(found: Mapping[str, Any]) -> str:
    """Returns on what, with what and when figures were taken, of their own record."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{found['host']} ({' '.join(found['cpu_flags'])}), {found['measured_at'][:10]}; {versions}."
