"""The steps of a job on Ray, each in this process, without a cluster."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("ray.data", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from ray.data.block import BlockAccessor

from slimseq.evaluation.bulk import windows
from slimseq.evaluation.bulk.data_files import DataFile
from slimseq.evaluation.bulk.file_job import Occupied
from slimseq.evaluation.bulk.generate_file import EngineChoice
from slimseq.evaluation.bulk.on_ray.generate_folder import FolderJob, generate_folder
from slimseq.evaluation.bulk.on_ray.job_folder import JobFolder
from slimseq.evaluation.bulk.on_ray.parts import CheckpointIds, plan_parts
from slimseq.evaluation.bulk.on_ray.pipeline import ID, RECORD, Engine, PartFiles, RowSource
from slimseq.evaluation.bulk.row_files import OUTPUT_FIELDS, RowFile, row_file
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.bulk.workers import EngineSetup
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.models_store.errors import CannotWrite
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

ROWS = ['{"text": "Good morning.", "n": 1}', "nonsense", '{"text": 5}', '{"text": "It is late.", "index": 9}']
IDS = CheckpointIds("key")


@pytest.fixture
def data(tmp_path: Path) -> DataFile:
    (tmp_path / "data.jsonl").write_text("\n".join(ROWS))
    return DataFile(tmp_path / "data.jsonl")


@pytest.fixture
def setup(embedded: Store) -> EngineSetup:
    return EngineSetup(embedded.root, Task.TRANSLATION, "quantized", RowSettings())


def generated(files: list[DataFile], setup: EngineSetup, form: RowFile) -> pa.Table:
    """Returns the records of all rows."""
    source = RowSource(files, plan_parts(files, "text", IDS), "text", IDS)
    engine = Engine(setup, "text", form)
    blocks = [block for task in source.get_read_tasks(7) for block in task()]
    return pa.concat_tables([table for block in blocks for table in engine(block)])


def test_a_row_that_cannot_be_done_is_a_record_with_an_error(data: DataFile, setup: EngineSetup) -> None:
    form = RowFile("jsonl", taken=OUTPUT_FIELDS | {"index"})

    records = generated([data], setup, form)

    assert records.schema.field(ID).type == records.schema.field(RECORD).type == pa.string()
    rows = [json.loads(line.as_py()) for line in records[RECORD]]
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["output"] == "Guten Morgen." and rows[0]["n"] == 1 and "error" not in rows[0]
    assert [row.get("error") for row in rows[1:]] == [
        "the line is not JSON",
        "the text is not a string but int",
        "the row has a field 'index', which the outputs have too",
    ]


def test_a_source_has_a_task_for_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", 2)
    (tmp_path / "data.txt").write_text("Equal.\n" * 9)
    files = [DataFile(tmp_path / "data.txt")]
    parts = plan_parts(files, "text", IDS, count=3)

    tasks = RowSource(files, parts, "text", IDS).get_read_tasks(1)

    blocks = [pa.concat_tables(list(task())) for task in tasks]
    assert [block.num_rows for block in blocks] == [task.metadata.num_rows for task in tasks] == [2, 4, 3]
    assert pa.concat_tables(blocks)["index"].to_pylist() == list(range(9))
    assert len(set(pa.concat_tables(blocks)[ID].to_pylist())) == 9


def test_parquet_parts_have_typed_columns_also_without_an_error(tmp_path: Path, setup: EngineSetup) -> None:
    table = pa.table({"text": ["Good morning.", None], "size": pa.array([1, None], pa.int16())})
    pq.write_table(table, tmp_path / "data.parquet")
    files = [DataFile(tmp_path / "data.parquet")]
    form = row_file("parquet", False, files, [next(files[0].rows())], OUTPUT_FIELDS | {"index"})
    form = replace(form, schema=pa.schema([pa.field("index", pa.int64()), *form.schema]))

    records = generated(files, setup, form)
    with (tmp_path / "part.parquet").open("wb") as file:
        sink = PartFiles(JobFolder(str(tmp_path / "out")), form)
        sink.write_block_to_file(BlockAccessor.for_block(records.slice(0, 1)), file)

    found = pq.read_table(tmp_path / "part.parquet")
    assert found.schema.equals(form.schema)
    assert found.schema.field("error").type == pa.string()
    assert found.to_pylist()[0]["output"] == "Guten Morgen."
    assert records[RECORD][1].as_py()["error"] == "the text is missing"


def test_lines_are_written_as_they_are(tmp_path: Path) -> None:
    lines = ['{"index": 0, "text": "ä"}\n', '{"index": 1, "text": "\\ud800"}\n']
    block = pa.table({ID: ["a", "b"], RECORD: lines})
    with (tmp_path / "part.jsonl").open("wb") as file:
        sink = PartFiles(JobFolder(str(tmp_path / "out")), RowFile("jsonl"))
        sink.write_block_to_file(BlockAccessor.for_block(block), file)

    assert (tmp_path / "part.jsonl").read_text(encoding="utf-8") == "".join(lines)


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"data": (Path("absent.jsonl"),)}, DatasetUnavailable, "there is no file absent.jsonl"),
        ({"data": (Path("-"),)}, DatasetUnavailable, "not standard input"),
        ({"out": "-"}, CannotWrite, "not standard output"),
        ({"out": "."}, Occupied, "has data; the output needs another folder"),
        ({"out": "absent/out"}, CannotWrite, "there is no folder"),
        ({"out_form": "txt"}, DatasetUnavailable, "writes jsonl or parquet"),
        ({"out_form": "parquet"}, DatasetUnavailable, "types of .jsonl fields are not known"),
        ({"field": "body"}, DatasetUnavailable, "has no field 'body'"),
        ({"errors": "old.jsonl"}, Occupied, r"old\.jsonl exists; --force replaces it"),
        ({"errors": "data.jsonl", "may_replace": True}, Occupied, r"data\.jsonl is data"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    embedded: Store,
    data: DataFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[Exception],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.jsonl").touch()
    job = replace(FolderJob((data.path,), "out"), **changes)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(error, match=reason):
        generate_folder(job, EngineChoice(embedded, Task.TRANSLATION, "quantized", RowSettings()), lambda *_: None)

    assert sorted(tmp_path.iterdir()) == before
