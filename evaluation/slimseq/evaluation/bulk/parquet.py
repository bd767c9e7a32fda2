"""Parquet files: reads their rows, and writes rows with typed columns. pyarrow does it, which the base install lacks.

A Parquet file is complete only with its end, so it cannot be continued after an interruption. The windows of an
unfinished file are therefore Arrow streams, one after the other, which `write_parquet` turns into the file at the end.
"""

import importlib.util
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.models_store.errors import first_line
from slimseq.models_store.places import pip_install

# Rows that are read at once.
BATCH_ROWS = 256
# Bytes of the rows that are written at once, as one row group. Readers are slow with many small groups.
GROUP_BYTES = 32_000_000


def check_installed() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise DatasetUnavailable(f"a .parquet file needs pyarrow, which is not installed: {pip_install('compress')}")


def read_rows(path: Path, skipped: int = 0) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file behind the first ones, whose number is `skipped`.

    Raises:
        DatasetUnavailable: the file cannot be read, or has a string that is no UTF-8 text.
    """
    with _opened(path) as file:
        groups = list(range(file.metadata.num_row_groups))
        while groups and skipped >= file.metadata.row_group(groups[0]).num_rows:
            skipped -= file.metadata.row_group(groups.pop(0)).num_rows
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, use_threads=False):
            yield from batch.slice(skipped).to_pylist()
            skipped = max(skipped - batch.num_rows, 0)


def count_rows(path: Path) -> tuple[int, int]:
    """Returns the number of rows, and their bytes without compression."""
    with _opened(path) as file:
        groups = [file.metadata.row_group(index).total_byte_size for index in range(file.metadata.num_row_groups)]
        return file.metadata.num_rows, sum(groups)


def read_schema(path: Path) -> Any:
    """Returns the names and types of the columns.

    Raises:
        DatasetUnavailable: the file cannot be read, or has two columns of one name.
    """
    with _opened(path) as file:
        return file.schema_arrow


def text_schema(columns: Sequence[str]) -> Any:
    """Returns the schema of rows that have strings alone."""
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in columns])


def with_outputs(schema: Any) -> Any:
    """Returns a schema with the columns of outputs. They have types, also where all values are None."""
    import pyarrow as pa

    warning = pa.struct([("kind", pa.string()), ("detail", pa.string())])
    alternative = pa.struct([("text", pa.string()), ("score", pa.float64())])
    types = {
        "row_id": pa.string(),
        "output": pa.string(),
        "finish_reason": pa.string(),
        "input_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "truncated": pa.bool_(),
        "confidence": pa.float64(),
        "score": pa.float64(),
        "warnings": pa.list_(warning),
        "repaired": pa.list_(pa.string()),
        "alternatives": pa.list_(alternative),
        "error": pa.string(),
    }
    return pa.schema([*schema, *(pa.field(name, kind) for name, kind in types.items())])


def as_stream(rows: Sequence[dict[str, Any]], schema: Any) -> bytes:
    """Returns rows as an Arrow stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema))
    return bytes(sink.getvalue())


def write_parquet(streams: Path, target: Path, schema: Any) -> None:
    """Writes a Parquet file from a file of Arrow streams. A row group has the rows of many streams."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(target, schema) as writer:
        tables: list[Any] = []
        for table in _read_streams(streams):
            tables.append(table)
            if sum(each.nbytes for each in tables) >= GROUP_BYTES:
                writer.write_table(pa.concat_tables(tables))
                tables = []
        if tables:
            writer.write_table(pa.concat_tables(tables))


def _read_streams(path: Path) -> Iterator[Any]:
    """Yields the table of each Arrow stream in a file."""
    import pyarrow as pa

    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            with pa.ipc.open_stream(pa.PythonFile(file, "r")) as reader:
                yield reader.read_all()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens a Parquet file. Errors of opening and reading become `DatasetUnavailable`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_names(path, file.schema_arrow.names)
            yield file
    except FileNotFoundError as error:
        raise DatasetUnavailable(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise DatasetUnavailable(f"{path} cannot be read: {first_line(error)}") from error


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuses two columns of one name: a row has one value for each name."""
    for name, count in Counter(names).items():
        if count > 1:
            raise DatasetUnavailable(f"{path.name} has {count} columns with the name {name!r}; rename them")
