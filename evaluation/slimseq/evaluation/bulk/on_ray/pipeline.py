"""What Ray Data runs for a job: a source of rows, actors with an engine each, and files of rows.

    RowSource    a task for each part reads its rows, with their ids
    Engine       an actor with an open artifact turns rows into records: a JSON line, or a row of a Parquet file
    PartFiles    a task for each part writes its records to a file

Rows keep their order within a part. A row that cannot be done is a record too: an exception would end the whole job.
"""

import os
import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.data.datasource import BlockBasedFileDatasink, FilenameProvider

from slimseq.evaluation.bulk.data_files import DataFile, DataRow
from slimseq.evaluation.bulk.generate_file import with_problems
from slimseq.evaluation.bulk.on_ray.job_folder import INDEX, PART, JobFolder
from slimseq.evaluation.bulk.on_ray.parts import CheckpointIds, Part
from slimseq.evaluation.bulk.row_files import RowFile
from slimseq.evaluation.bulk.row_processor import GeneratedRow
from slimseq.evaluation.bulk.windows import split_windows
from slimseq.evaluation.bulk.workers import THREADS, EngineSetup

# Columns of a row between the steps. Ray Data's checkpoints need the id. A pickle keeps all types that fields can have.
ID, ROW, RECORD = "id", "row", "record"
ROWS = pa.schema([(INDEX, pa.int64()), (ID, pa.string()), (ROW, pa.binary())])


class RowSource(Datasource):  # type: ignore[misc]
    """Reads the parts of data files. Each node must have the files under the same path."""

    def __init__(self, files: Sequence[DataFile], parts: Sequence[Part], field: str, ids: CheckpointIds) -> None:
        super().__init__()
        self._files = files
        self._parts = parts
        self._field = field
        self._ids = ids

    def get_name(self) -> str:
        return "Rows"

    def estimate_inmemory_data_size(self) -> int:
        return sum(part.size for part in self._parts)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """Returns a task for each part, however many are asked for."""
        return [
            ReadTask(
                partial(read_part, self._files, part, self._field, self._ids),
                BlockMetadata(num_rows=part.rows, size_bytes=part.size, input_files=None, exec_stats=None),
                schema=ROWS,
                per_task_row_limit=per_task_row_limit,
            )
            for part in self._parts
        ]


def read_part(files: Sequence[DataFile], part: Part, field: str, ids: CheckpointIds) -> Iterator[pa.Table]:
    """Yields the rows of a part as tables, one for each window."""
    place = 0
    for window, _ in split_windows(part.read(files), field):
        first = part.index + place
        columns = [
            pa.array(range(first, first + len(window)), pa.int64()),
            pa.array(part.ids(window, place, ids), pa.string()),
            pa.array([pickle.dumps(row) for row in window], pa.binary()),
        ]
        yield pa.Table.from_arrays(columns, schema=ROWS)
        place += len(window)


class Engine:
    """An actor: it has an open artifact, and generates from the rows of a part.

    Raises:
        SlimseqError: the artifact cannot be opened on this node, or is another one.
    """

    def __init__(self, setup: EngineSetup, field: str, form: RowFile) -> None:
        # The tokenizer's threads would take the cores of other actors.
        os.environ.update(dict.fromkeys(THREADS, str(setup.threads)))
        self._processor = setup.open()
        self._field = field
        self._form = form

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yields the records of rows with their ids, a table for each window."""
        rows = (pickle.loads(each.as_py()) for each in block[ROW])
        indexes, ids = iter(block[INDEX].to_pylist()), iter(block[ID].to_pylist())
        for window, texts in split_windows(rows, self._field):
            outputs = with_problems(window, self._processor.process(texts), self._field, self._form)
            numbered = [_with_index(row, next(indexes)) for row in window]
            own_ids = pa.array([next(ids) for _ in window], pa.string())
            yield pa.table({ID: own_ids, RECORD: as_records(numbered, outputs, self._form)})


def _with_index(row: DataRow, index: int) -> DataRow:
    """Returns a row with its index as the first field. A field of the row that has this name makes an error of it."""
    fields = {INDEX: index} | row.fields | {INDEX: index}
    return DataRow(row.file, row.line, fields, row.problem, row.size, row.offset)


def as_records(rows: Sequence[DataRow], outputs: Sequence[GeneratedRow], form: RowFile) -> pa.Array:
    """Returns rows with their outputs: as lines, or as structs with the types of a Parquet file.

    The types are given. Those of a column of None alone would be another in each block.
    """
    if form.form == "parquet":
        fields = [row.fields | vars(output) for row, output in zip(rows, outputs, strict=True)]
        return pa.array(fields, pa.struct(list(form.schema)))
    lines = [form.window([row], [output]).decode() for row, output in zip(rows, outputs, strict=True)]
    return pa.array(lines, pa.string())


class PartFiles(BlockBasedFileDatasink):  # type: ignore[misc]
    """Writes records to files, one for each block. With checkpoints, Ray Data commits each file with its ids."""

    def __init__(self, folder: JobFolder, form: RowFile) -> None:
        names = _PartNames(file_format=form.form)
        super().__init__(folder.path, filesystem=folder.filesystem, filename_provider=names, file_format=form.form)
        self._form = form

    def write_block_to_file(self, block: Any, file: Any) -> None:
        records = block.to_arrow()[RECORD]
        if self._form.form == "parquet":
            pq.write_table(pa.Table.from_struct_array(records), file)
            return
        for record in records:
            file.write(record.as_py().encode())


class _PartNames(FilenameProvider):  # type: ignore[misc]
    """Names files so that a job knows its own."""

    def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
        return PART + str(super().get_filename_for_task(write_uuid, task_index))
