"""The forms in which rows of outputs are written. A window of rows becomes bytes, which a file can be cut behind."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from slimseq.evaluation.bulk import parquet
from slimseq.evaluation.bulk.data_files import DataFile, DataRow, Form
from slimseq.evaluation.bulk.row_processor import GeneratedRow
from slimseq.evaluation.dataset_files import DatasetUnavailable

# Fields that a row of a .jsonl or .parquet file has for its output.
OUTPUT_FIELDS = frozenset(vars(GeneratedRow("")))
# Columns that a .tsv file has for each output. It has the kinds of warnings, without their details.
TSV_COLUMNS = ("output", "finish_reason", "confidence", "warnings", "error")


@dataclass(frozen=True)
class RowFile:
    """How rows are written.

    Args:
        form: of the file.
        is_compressed: whether the file is gzipped. Each window is a member of its own, so that a file can be continued.
        columns: names of the columns of a .tsv file that come from the data.
        schema: pyarrow's schema of a Parquet file.
        taken: fields that a row of a .jsonl or .parquet file has beside those of the data.
    """

    form: Form
    is_compressed: bool = False
    columns: tuple[str, ...] = ()
    schema: Any = None
    taken: frozenset[str] = OUTPUT_FIELDS

    @property
    def has_fields(self) -> bool:
        """Whether the rows have the fields of the data, and not their outputs alone."""
        return self.form != "txt"

    def problem_of(self, row: DataRow) -> str | None:
        """Returns why a row cannot be written, None if it can. Rows of other forms have the columns of the first."""
        if self.form != "jsonl":
            return None
        taken = sorted(self.taken.intersection(row.fields))
        return f"the row has a field {taken[0]!r}, which the outputs have too" if taken else None

    def head(self) -> bytes:
        """Returns what is before the first window."""
        return self._packed("\t".join((*self.columns, *TSV_COLUMNS)) + "\n") if self.form == "tsv" else b""

    def window(self, rows: Sequence[DataRow], outputs: Sequence[GeneratedRow]) -> bytes:
        """Returns a window of rows with their outputs."""
        pairs = list(zip(rows, outputs, strict=True))
        if self.form == "parquet":
            return parquet.as_stream([row.fields | vars(output) for row, output in pairs], self.schema)
        write = {"jsonl": _json_line, "tsv": self._tsv_line, "txt": _text_line}[self.form]
        return self._packed("".join(write(row, output) + "\n" for row, output in pairs))

    def finish(self, partial: Path, target: Path) -> Path:
        """Returns the finished file, which still has another name: the partial file, or `target` made of it."""
        if self.form != "parquet":
            return partial
        parquet.write_parquet(partial, target, self.schema)
        return target

    def _packed(self, text: str) -> bytes:
        content = text.encode()
        # Without a time, the same rows have the same bytes.
        return gzip.compress(content, mtime=0) if self.is_compressed else content

    def _tsv_line(self, row: DataRow, output: GeneratedRow) -> str:
        confidence = "" if output.confidence is None else str(output.confidence)
        kinds = ",".join(each["kind"] for each in output.warnings)
        cells = [str(row.fields.get(name, "")) for name in self.columns]
        cells += [output.output or "", output.finish_reason or "", confidence, kinds, output.error or ""]
        return "\t".join(map(_on_one_line, cells))


def row_file(
    form: Form,
    is_compressed: bool,
    files: Sequence[DataFile],
    firsts: Sequence[DataRow],
    taken: frozenset[str] = OUTPUT_FIELDS,
) -> RowFile:
    """Returns how the rows of data files are written, given the first row of each.

    Raises:
        DatasetUnavailable: the data cannot be written in this form, or a field of it has a name of an output's.
    """
    if form == "txt":
        return RowFile(form, is_compressed)
    _check_names(frozenset(TSV_COLUMNS) if form == "tsv" else taken, firsts)
    if form == "jsonl":
        return RowFile(form, is_compressed, taken=taken)
    forms = {each.form for each in files}
    if form == "tsv":
        if not forms <= {"txt", "tsv"}:
            raise DatasetUnavailable("a .tsv file holds the fields of .txt and .tsv data alone; write a .jsonl file")
        return RowFile(form, is_compressed, columns=_same_columns(form, firsts))
    parquet.check_installed()
    if "jsonl" in forms:
        raise DatasetUnavailable("the types of .jsonl fields are not known; write a .jsonl file, or give .parquet data")
    return RowFile(form, schema=parquet.with_outputs(_same_schema(files, firsts)), taken=taken)


def _check_names(taken: frozenset[str], firsts: Sequence[DataRow]) -> None:
    for first in firsts:
        names = sorted(taken.intersection(first.fields))
        if names:
            raise DatasetUnavailable(f"{first.file} has a field {names[0]!r}, which the outputs have too; rename it")


def _same_columns(form: Form, firsts: Sequence[DataRow]) -> tuple[str, ...]:
    """Returns the columns of text files, given the first row of each. All must have the same."""
    columns = tuple(firsts[0].fields)
    if any(tuple(each.fields) != columns for each in firsts):
        raise DatasetUnavailable(f"the data files have different columns, which one .{form} file cannot hold")
    return columns


def _same_schema(files: Sequence[DataFile], firsts: Sequence[DataRow]) -> Any:
    """Returns pyarrow's schema of the columns of data files. All must have the same."""
    schemas = []
    for file, first in zip(files, firsts, strict=True):
        is_typed = file.form == "parquet"
        schemas.append(parquet.read_schema(file.path) if is_typed else parquet.text_schema(list(first.fields)))
    if any(not each.equals(schemas[0]) for each in schemas):
        raise DatasetUnavailable("the data files have different columns, which one .parquet file cannot hold")
    return schemas[0]


def _json_line(row: DataRow, output: GeneratedRow) -> str:
    values = row.fields | output.fields()
    text = json.dumps(values, ensure_ascii=False, default=_json_value)
    # Halves of surrogate pairs, which JSON can escape and UTF-8 cannot hold, stay escaped.
    return text if text.isascii() or _is_unicode(text) else json.dumps(values, default=_json_value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_value(value: Any) -> str:
    """Returns a value of a Parquet file that JSON has no type for."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _text_line(_: DataRow, output: GeneratedRow) -> str:
    return _on_one_line(output.output or "")


def _on_one_line(text: str) -> str:
    """Returns a text without line ends and tabs, which separate lines and cells."""
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ").replace("\t", " ")
