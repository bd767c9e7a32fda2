"""Reads the examples of a data set from files: JSON lines, CSV, tab-separated pairs, parallel texts, also gzipped.

Lines are read one by one, so that the first examples of a large file are read quickly. A line that cannot be read, or
that is no example, raises `DatasetUnavailable`, which names the file and the line.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.model_folder import open_regular

ENDINGS = (".jsonl", ".csv", ".tsv")
# Names of the fields of source and target, by task. A row has one of these pairs.
FIELDS: dict[Task, tuple[tuple[str, str], ...]] = {
    Task.SUMMARIZATION: (("document", "summary"), ("article", "highlights"), ("source", "target")),
    Task.TRANSLATION: (("source", "target"),),
}

# Maximum number of characters of a line, with its end. The longest article of CNN/DailyMail has about 16,000.
MAX_LINE = 2_000_000
# Maximum number of characters of a CSV line. A field of the `csv` module has at most 131,072.
MAX_CSV_LINE = 500_000
# Names of the field of a text without a target.
SOURCE_FIELDS = ("document", "article", "source", "text")
_SURROGATE = re.compile("[\ud800-\udfff]")


class DatasetUnavailable(SlimseqError):
    """Raised when a data set is not there, cannot be reached, or is not in a form that can be read."""


@dataclass(frozen=True)
class Example:
    """A document and its summary, or a sentence and its translation.

    `prefix` goes before the source instead of the artifact's own prefix; None keeps the artifact's own. `origin` names
    the collection that the example came from, if the file says so.
    """

    source: str
    target: str
    prefix: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class DatasetSample:
    """Examples taken from the start of one split of a data set."""

    name: str
    split: str
    examples: tuple[Example, ...]


def read_examples(task: Task, path: Path) -> Iterator[Example]:
    """Yields the examples of a file whose name ends in one of `ENDINGS`, with or without `.gz` behind it."""
    yield from _examples(task, path.name, _lines(path))


def read_uploaded(task: Task, name: str, file: BinaryIO) -> Iterator[Example]:
    """Yields the examples of an open file, which is not compressed and has one of the `ENDINGS` in its name."""
    if not name.endswith(ENDINGS):
        raise DatasetUnavailable(f"{name!r} is no data set: its name must end in {', '.join(ENDINGS)}")
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n")
    try:
        yield from _examples(task, name, _numbered(text, name))
    finally:
        text.detach()


def _examples(task: Task, name: str, lines: Iterator[tuple[int, str]]) -> Iterator[Example]:
    plain = name.removesuffix(".gz")
    if plain.endswith(".csv"):
        return _comma_separated(task, name, lines)
    return _json_lines(task, name, lines) if plain.endswith(".jsonl") else _tab_separated(task, name, lines)


def _json_lines(task: Task, name: str, lines: Iterator[tuple[int, str]]) -> Iterator[Example]:
    """Yields one example for each line with a JSON object.

    Its keys are `source` and `target`; for summarization also `document` and `summary`, or `article` and `highlights`.
    `prefix` and `origin` are optional.
    """
    for number, line in lines:
        if not line.strip():
            continue
        location = f"line {number} of {name}"
        yield _example_of(task, _object(line, location), location)


def _comma_separated(task: Task, name: str, lines: Iterator[tuple[int, str]]) -> Iterator[Example]:
    """Yields one example for each row after the first. The first row names the columns as `_json_lines` names keys."""
    rows = csv.DictReader(_short_lines(name, lines), strict=True)
    try:
        if not any(set(pair) <= set(rows.fieldnames or ()) for pair in FIELDS[task]):
            pairs = " or ".join(" and ".join(pair) for pair in FIELDS[task])
            raise DatasetUnavailable(f"line 1 of {name} must name the columns {pairs}")
        for row in rows:
            location = f"line {rows.line_num} of {name}"
            if None in row:
                raise DatasetUnavailable(f"{location} has more columns than the first line")
            yield _example_of(task, row, location)
    except csv.Error as error:
        raise DatasetUnavailable(f"line {rows.line_num + 1} of {name} is not CSV: {error}") from error


def _short_lines(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Yields lines for a CSV reader. The reader holds the interpreter while it splits a line."""
    for number, line in lines:
        if len(line) > MAX_CSV_LINE:
            raise DatasetUnavailable(f"line {number} of {name} has more than {MAX_CSV_LINE:,} characters")
        yield f"{line}\n"


def _tab_separated(task: Task, name: str, lines: Iterator[tuple[int, str]]) -> Iterator[Example]:
    """Yields one example for each line's first two columns: source, then target. A first line may name them."""
    for number, line in lines:
        cells = line.split("\t")
        if not line.strip() or (number == 1 and tuple(cells[:2]) in FIELDS[task]):
            continue
        columns = dict(zip(("source", "target"), cells, strict=False))
        yield _example_of(task, columns, f"line {number} of {name}")


def read_parallel_text(source: Path, target: Path) -> Iterator[Example]:
    """Yields one example for each pair of lines with the same number in two files."""
    lengths = [sum(1 for _ in _lines(path)) for path in (source, target)]
    if lengths[0] != lengths[1]:
        raise DatasetUnavailable(
            f"{source.name} has {lengths[0]} lines and {target.name} has {lengths[1]}: they are not parallel"
        )
    for (number, first), (_, second) in zip(_lines(source), _lines(target), strict=True):
        if not first.strip() and not second.strip():
            continue
        location = f"line {number} of {source.name}:{target.name}"
        yield _example_of(Task.TRANSLATION, {"source": first, "target": second}, location)


def read_sources(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yields texts without targets, each with its origin or None.

    A `.jsonl` or `.jsonl.gz` file has objects with a `document`, `article`, `source` or `text`, and optionally an
    `origin`. Any other file is read as plain text, one text a line.
    """
    is_json = path.name.endswith((".jsonl", ".jsonl.gz"))
    for number, line in _lines(path):
        if not line.strip():
            continue
        location = f"line {number} of {path.name}"
        row = _object(line, location) if is_json else {"text": line}
        name = next((name for name in SOURCE_FIELDS if name in row), None)
        if name is None:
            raise DatasetUnavailable(f"{location} has none of {', '.join(SOURCE_FIELDS)}")
        _check_text(row, name, location, is_optional=False)
        _check_text(row, "origin", location, is_optional=True)
        yield row[name].strip(), row.get("origin")


def _object(line: str, location: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetUnavailable(f"{location} is not JSON") from error
    if not isinstance(row, dict):
        raise DatasetUnavailable(f"{location} is not a JSON object")
    return row


def _example_of(task: Task, row: dict[str, Any], location: str) -> Example:
    known = FIELDS[task]
    names = next((pair for pair in known if any(name in row for name in pair)), known[0])
    for name in names:
        if name not in row:
            raise DatasetUnavailable(f"{location} has no `{name}`")
        _check_text(row, name, location, is_optional=False)
    for name in ("origin", "prefix"):
        _check_text(row, name, location, is_optional=True)
    return Example(row[names[0]].strip(), row[names[1]].strip(), row.get("prefix"), row.get("origin"))


def _check_text(row: dict[str, Any], name: str, location: str, is_optional: bool) -> None:
    if is_optional and row.get(name) is None:
        return
    if not isinstance(row[name], str):
        raise DatasetUnavailable(f"{location}: `{name}` is not text")
    # JSON can escape halves of surrogate pairs, which no tokenizer reads and no file can hold.
    if _SURROGATE.search(row[name]):
        raise DatasetUnavailable(f"{location}: `{name}` has half of a surrogate pair")
    if not is_optional and not row[name].strip():
        raise DatasetUnavailable(f"{location}: `{name}` is empty")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the number of each line, from 1, and its text without the line end."""
    try:
        # With newline="\n" other separators inside a line do not split it, so parallel files stay aligned.
        with (
            open_regular(path) as content,
            gzip.open(content, "rt", encoding="utf-8-sig", newline="\n")
            if path.suffix == ".gz"
            else io.TextIOWrapper(content, encoding="utf-8-sig", newline="\n") as file,
        ):
            yield from _numbered(file, path.name)
    except FileNotFoundError as error:
        raise DatasetUnavailable(f"there is no file {path}") from error
    except (EOFError, OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetUnavailable(f"{path.name} cannot be read: {reason}") from error


def _numbered(file: TextIO, name: str) -> Iterator[tuple[int, str]]:
    try:
        lines = iter(partial(file.readline, MAX_LINE + 1), "")
        for number, line in enumerate(lines, start=1):
            if len(line) > MAX_LINE:
                raise DatasetUnavailable(f"line {number} of {name} has more than {MAX_LINE:,} characters")
            yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DatasetUnavailable(f"{name} is not UTF-8 text") from error
