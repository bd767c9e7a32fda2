"""Parts of data files: they have all rows once, in order, and ids that do not depend on how the rows are cut."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slimseq.evaluation.bulk import windows
from slimseq.evaluation.bulk.data_files import DataFile, DataRow, all_rows
from slimseq.evaluation.bulk.on_ray.parts import CheckpointIds, Part, plan_parts
from slimseq.evaluation.dataset_files import DatasetUnavailable

IDS = CheckpointIds("key")


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", 3)


def rows_of(files: Sequence[DataFile], parts: Sequence[Part]) -> list[DataRow]:
    return [row for part in parts for row in part.read(files)]


def ids_of(files: Sequence[DataFile], parts: Sequence[Part]) -> list[str]:
    return [identifier for part in parts for identifier in part.ids(list(part.read(files)), 0, IDS)]


def json_lines(path: Path, texts: Sequence[str]) -> DataFile:
    content = "".join(json.dumps({"text": text}) + "\n\n" for text in texts).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return DataFile(path)


def written(folder: Path, ending: str) -> DataFile:
    """Returns a file with 20 rows."""
    path = folder / f"data.{ending}"
    texts = [f"Text ä {place}" for place in range(20)]
    if ending == "parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=7)
    elif ending == "txt":
        path.write_text("\ufeff" + "\r\n".join(texts), encoding="utf-8")
    elif ending == "tsv":
        path.write_text("id\ttext\n" + "".join(f"1\t{text}\n" for text in texts), encoding="utf-8")
    else:
        return json_lines(path, texts)
    return DataFile(path)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "txt", "tsv", "parquet"])
@pytest.mark.parametrize("count", [None, 1, 3, 100])
def test_parts_have_all_rows_once_and_in_order(tmp_path: Path, ending: str, count: int | None) -> None:
    files = [written(tmp_path, ending), json_lines(tmp_path / "more.jsonl", ["One.", "Two."])]

    parts = plan_parts(files, "text", IDS, count)

    assert rows_of(files, parts) == list(all_rows(files))
    assert [part.index for part in parts] == [sum(each.rows for each in parts[:place]) for place in range(len(parts))]
    # There are 22 rows in 8 windows.
    assert len(parts) == {None: 2, 1: 1, 3: 3, 100: 8}[count]


def test_a_window_may_have_rows_of_two_files_as_on_one_machine(tmp_path: Path) -> None:
    files = [json_lines(tmp_path / f"{name}.jsonl", [f"{name} {place}" for place in range(5)]) for name in "ab"]

    parts = plan_parts(files, "text", IDS, count=4)

    assert [part.rows for part in parts] == [3, 3, 3, 1]
    assert [row.fields["text"] for row in parts[1].read(files)] == ["a 3", "a 4", "b 0"]


def test_ids_are_distinct_and_do_not_depend_on_the_parts(tmp_path: Path) -> None:
    texts = ["Equal."] * 7 + ["Other."] + ["Equal."] * 4
    files = [json_lines(tmp_path / "data.jsonl", texts), json_lines(tmp_path / "more.jsonl", texts)]

    found = ids_of(files, plan_parts(files, "text", IDS))

    assert len(set(found)) == 24
    for count in (1, 3, 8):
        assert ids_of(files, plan_parts(files, "text", IDS, count)) == found


def test_the_id_of_a_row_does_not_depend_on_its_place(tmp_path: Path) -> None:
    texts = ["One.", "Equal.", "Two.", "Equal."]
    files = [json_lines(tmp_path / "data.jsonl", texts)]
    moved = [json_lines(tmp_path / "moved.jsonl", texts[::-1])]

    assert set(ids_of(files, plan_parts(files, "text", IDS))) == set(ids_of(moved, plan_parts(moved, "text", IDS)))


def test_the_id_of_a_row_depends_on_the_artifact_and_on_all_fields() -> None:
    row = DataRow("data.jsonl", 1, {"text": "Equal.", "n": 1})
    others = [
        CheckpointIds("other").of(row, 0),
        IDS.of(row, 1),
        IDS.of(DataRow("data.jsonl", 1, {"text": "Equal.", "n": 2}), 0),
        IDS.of(DataRow("data.jsonl", 1, {"text": "Equal.", "n": 1}, "a problem"), 0),
    ]

    assert IDS.of(row, 0) == IDS.of(DataRow("other.jsonl", 7, {"n": 1, "text": "Equal."}), 0)
    assert len({IDS.of(row, 0), *others}) == 5


def test_lines_that_are_no_rows_and_lines_that_are_too_long_keep_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimseq.evaluation.bulk.lines.MAX_LINE_BYTES", 40)
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f'\n{{"text": "{"x" * (place * 7)}"}}\nnonsense\n' for place in range(12)))
    files = [DataFile(path)]

    parts = plan_parts(files, "text", IDS, count=8)

    assert len(parts) == 8
    assert rows_of(files, parts) == list(files[0].rows())


def test_a_file_that_has_become_shorter_is_noticed(tmp_path: Path) -> None:
    files = [json_lines(tmp_path / "data.jsonl", ["One."] * 6)]
    parts = plan_parts(files, "text", IDS, count=2)
    json_lines(tmp_path / "data.jsonl", ["One."] * 5)

    with pytest.raises(DatasetUnavailable, match=r"data\.jsonl changed while it was read"):
        list(parts[1].read(files))
