"""Reads the rows of data files: JSON lines, plain lines and tab-separated columns, also gzipped, and Parquet.

Files are read row by row, so that memory does not grow with their size. A row that cannot be read is still a row, with
its problem, and keeps its place among the others.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from slimseq.evaluation.bulk import parquet
from slimseq.evaluation.bulk.lines import FIRST, STANDARD, Line, Position, count_lines, read_lines
from slimseq.evaluation.dataset_files import SOURCE_FIELDS, DatasetUnavailable

Form = Literal["jsonl", "txt", "tsv", "parquet"]
# The columns of a .tsv file whose first line names none, as those of a file of pairs.
PAIR_COLUMNS = ("source", "target")
# The only field of a row of plain text.
TEXT = "text"
# How deep lists and objects of a row may be nested. Python's own limit depends on how deep its calls are nested.
MAX_NESTING = 100
NESTED_TOO_DEEPLY = f"the line has lists and objects that are nested more than {MAX_NESTING} times"


@dataclass(frozen=True)
class DataRow:
    """A row of a data file.

    Args:
        file: name of the file.
        line: number of the line in the file, or of the row, from 1 on.
        fields: values by name.
        problem: why fields are missing. None if the row could be read.
        size: characters of the line, or of the strings of a Parquet row.
        offset: bytes of the file before the line, without compression. 0 for a Parquet row.
    """

    file: str
    line: int
    fields: dict[str, Any]
    problem: str | None = None
    size: int = 0
    offset: int = 0

    @property
    def position(self) -> Position:
        return Position(self.line, self.offset)


class DataFile:
    """A file of rows, or standard input.

    Args:
        path: of the file; `-` is standard input.
        form: of the rows. None: the ending of the file's name says it, and standard input has plain lines.
        field: the field with the text, if the command names it. A first line of a .tsv file may have it.

    Raises:
        DatasetUnavailable: the name does not say the form, or the form needs a library that is not installed.
    """

    def __init__(self, path: Path, form: Form | None = None, field: str | None = None) -> None:
        self.path = path
        self.form = form or form_of(path)
        self._known_fields = {field, *SOURCE_FIELDS}
        self.is_standard = path == STANDARD
        self.name = "standard input" if self.is_standard else path.name
        if self.form == "parquet":
            parquet.check_installed()
            if self.is_standard:
                raise DatasetUnavailable("standard input cannot be a Parquet file; give its name")

    def rows(self, start: Position = FIRST) -> Iterator[DataRow]:
        """Yields the rows. Standard input can be read once.

        Args:
            start: position of the first row that is read, as a row has it.

        Raises:
            DatasetUnavailable: the file is not there, or cannot be read.
        """
        if self.form == "parquet":
            for number, fields in enumerate(parquet.read_rows(self.path, start.number - 1), start.number):
                size = sum(len(value) for value in fields.values() if isinstance(value, str | bytes))
                yield DataRow(self.name, number, fields, size=size)
        elif self.form == "tsv":
            yield from self._tab_separated(start)
        else:
            for line in read_lines(self.path, start):
                if not self._is_blank(line):
                    yield self._row(line)

    def count(self) -> tuple[int, int]:
        """Returns the number of rows, and their bytes without compression. Blank lines of a .jsonl file count too."""
        if self.form == "parquet":
            return parquet.count_rows(self.path)
        return count_lines(self.path)

    def _is_blank(self, line: Line) -> bool:
        """Whether a line is no row: blank lines between JSON objects are none."""
        return self.form == "jsonl" and line.problem is None and not line.text.strip()

    def _row(self, line: Line) -> DataRow:
        fields: dict[str, Any] = {}
        problem = line.problem
        if problem is None and self.form == "txt":
            fields = {TEXT: line.text}
        elif problem is None:
            fields, problem = _json_object(line.text)
        return DataRow(self.name, line.position.number, fields, problem, len(line.text), line.position.offset)

    def _tab_separated(self, start: Position) -> Iterator[DataRow]:
        """Yields one row for each line. A first line with the name of a known field names the columns."""
        lines = read_lines(self.path)
        first = next(lines, None)
        if first is None:
            return
        columns = first.text.split("\t")
        has_names = not self._known_fields.isdisjoint(columns)
        if start != FIRST:
            lines = read_lines(self.path, start)
        elif not has_names:
            lines = chain([first], lines)
        if not has_names:
            others = [f"column{place}" for place in range(len(PAIR_COLUMNS) + 1, len(columns) + 1)]
            columns = [*PAIR_COLUMNS, *others][: len(columns)]
        for line in lines:
            cells = line.text.split("\t")
            problem = line.problem
            if len(cells) > len(columns):
                problem = f"the line has {len(cells)} columns, and the first line {len(columns)}"
            fields = dict(zip(columns, cells + [""] * (len(columns) - len(cells)), strict=False))
            yield DataRow(self.name, line.position.number, fields, problem, len(line.text), line.position.offset)


def _json_object(text: str) -> tuple[dict[str, Any], str | None]:
    """Returns the fields of a line, and its problem if it has none."""
    try:
        value = json.loads(text)
    except RecursionError:
        return {}, NESTED_TOO_DEEPLY
    except ValueError:
        return {}, "the line is not JSON"
    if not isinstance(value, dict):
        return {}, "the line is not a JSON object"
    return ({}, NESTED_TOO_DEEPLY) if _is_nested_deeper(value, MAX_NESTING) else (value, None)


def _is_nested_deeper(value: object, most: int) -> bool:
    """Whether lists and objects are nested more than `most` times."""
    level = [value]
    for _ in range(most):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        if not inner:
            return False
        level = inner
    return any(isinstance(each, dict | list) for each in level)


def form_of(path: Path) -> Form:
    """Returns the form of a file, which the ending of its name says."""
    if path == STANDARD:
        return "txt"
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    for form in get_args(Form):
        if ending == form and not (form == "parquet" and path.suffix == ".gz"):
            return form  # type: ignore[no-any-return]
    raise DatasetUnavailable(f"{path}: the name must end in .jsonl, .txt or .tsv, with or without .gz, or in .parquet")


def all_rows(files: Sequence[DataFile]) -> Iterator[DataRow]:
    return chain.from_iterable(file.rows() for file in files)


def choose_field(row: DataRow, field: str | None) -> str:
    """Returns the field with the text, given the first row of a file.

    Raises:
        DatasetUnavailable: the row has no such field, or none that is known.
    """
    if row.problem is not None:
        raise DatasetUnavailable(f"line {row.line} of {row.file}: {row.problem}")
    names = ", ".join(row.fields) or "no fields"
    if field is not None:
        if field not in row.fields:
            raise DatasetUnavailable(f"line {row.line} of {row.file} has no field {field!r}; it has {names}")
        return field
    for known in SOURCE_FIELDS:
        if known in row.fields:
            return known
    raise DatasetUnavailable(
        f"line {row.line} of {row.file} has none of {', '.join(SOURCE_FIELDS)}; it has {names}: --field says which is "
        "the text"
    )
