"""Rows of data files: every form, compressed or not, and rows that cannot be read keep their places."""

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slimseq.evaluation.bulk import lines
from slimseq.evaluation.bulk.data_files import DataFile, choose_field, form_of
from slimseq.evaluation.dataset_files import DatasetUnavailable

ROWS = [{"text": "Good morning.", "n": 1}, {"text": "It is late.", "n": 2}]


def write(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def fields(path: Path, field: str | None = None) -> list[dict[str, Any]]:
    return [row.fields for row in DataFile(path, field=field).rows()]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_json_lines_keep_all_fields(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"data.jsonl{ending}", "".join(json.dumps(row) + "\n" for row in ROWS))

    assert fields(path) == ROWS
    assert DataFile(path).count() == (2, sum(len(json.dumps(row)) + 1 for row in ROWS))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_each_line_of_a_text_file_is_a_row_also_a_blank_one(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"data.txt{ending}", "\ufeffOne.\r\n\nThree.")

    assert fields(path) == [{"text": "One."}, {"text": ""}, {"text": "Three."}]
    assert DataFile(path).count()[0] == 3


def test_the_first_line_of_a_tsv_file_names_the_columns_if_one_is_known(tmp_path: Path) -> None:
    named = write(tmp_path / "named.tsv", "id\tbody\n1\tHi.\n2\n")
    pairs = write(tmp_path / "pairs.tsv", "Hi.\tHallo.\tx\n")

    assert fields(named, "body") == [{"id": "1", "body": "Hi."}, {"id": "2", "body": ""}]
    assert fields(pairs) == [{"source": "Hi.", "target": "Hallo.", "column3": "x"}]


def test_a_parquet_file_has_rows_with_their_types(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "data.parquet")

    assert fields(tmp_path / "data.parquet") == ROWS
    assert DataFile(tmp_path / "data.parquet").count()[0] == 2


def test_rows_that_cannot_be_read_keep_their_places_and_say_why(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"text": "A."}\n\nnonsense\n[1]\n\xff\xfe\n{"text": "B."}\n')

    found = [(row.line, row.fields, row.problem) for row in DataFile(path).rows()]

    assert found == [
        (1, {"text": "A."}, None),
        (3, {}, "the line is not JSON"),
        (4, {}, "the line is not a JSON object"),
        (5, {}, "the line is not UTF-8 text"),
        (6, {"text": "B."}, None),
    ]


def test_a_row_that_is_nested_deeply_is_a_problem_and_not_an_error_of_python(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = ['{"text": ' + depth * "[" + depth * "]" + "}" for depth in (99, 100, 500, 100_000)]
    path.write_text("\n".join(rows))

    problems = [row.problem for row in DataFile(path).rows()]

    assert problems == [None, *(3 * ["the line has lists and objects that are nested more than 100 times"])]


def test_a_tsv_line_with_too_many_columns_is_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "data.tsv", "source\ttarget\nA.\tB.\nA.\tB.\tC.\n")

    assert [row.problem for row in DataFile(path).rows()] == [None, "the line has 3 columns, and the first line 2"]


def test_a_line_that_is_too_long_is_skipped_without_being_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    path = write(tmp_path / "data.txt", "short\n" + "long " * 10 + "\nend\n")

    found = [(row.fields, row.problem) for row in DataFile(path).rows()]

    assert found == [({"text": "short"}, None), ({}, "the line has more than 10 bytes"), ({"text": "end"}, None)]


def test_a_file_that_is_cut_or_missing_is_refused_in_one_line(tmp_path: Path) -> None:
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress(b"Good morning.\n" * 100)[:-12])
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 nothing")

    for path, reason in (
        (cut, "cut.txt.gz cannot be read"),
        (damaged, "damaged.parquet cannot be read"),
        (tmp_path / "absent.txt", "there is no file"),
        (tmp_path / "absent.parquet", "there is no file"),
    ):
        with pytest.raises(DatasetUnavailable, match=reason):
            list(DataFile(path).rows())


def test_a_parquet_file_whose_content_is_damaged_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"text": [f"Text {number}" for number in range(1000)]}), path, row_group_size=100)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 500] = bytes(500)
    path.write_bytes(content)

    with pytest.raises(DatasetUnavailable, match=r"data\.parquet cannot be read"):
        list(DataFile(path).rows())


def test_a_parquet_file_with_text_that_is_no_utf_8_is_refused_in_one_line(tmp_path: Path) -> None:
    offsets, content = pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0])), pa.py_buffer(b"\xff")
    column = pa.Array.from_buffers(pa.string(), 1, [None, offsets, content])
    pq.write_table(pa.table({"text": column}), tmp_path / "data.parquet")

    with pytest.raises(DatasetUnavailable, match=r"data\.parquet cannot be read: 'utf-8' codec"):
        list(DataFile(tmp_path / "data.parquet").rows())


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), tmp_path / "data.parquet")

    with pytest.raises(DatasetUnavailable, match="2 columns with the name 'text'"):
        list(DataFile(tmp_path / "data.parquet").rows())


def test_parquet_without_its_library_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(DatasetUnavailable, match=r"needs pyarrow, which is not installed: .*compress"):
        DataFile(tmp_path / "data.parquet")


def test_a_name_that_does_not_say_the_form_is_refused() -> None:
    for name in ("data", "data.csv", "data.parquet.gz", "data.gz"):
        with pytest.raises(DatasetUnavailable, match="must end in"):
            form_of(Path(name))
    assert form_of(Path("a.b.tsv.gz")) == "tsv"


def test_the_field_with_the_text_is_the_first_known_one_or_the_named_one(tmp_path: Path) -> None:
    [first, *_] = DataFile(write(tmp_path / "data.jsonl", '{"text": "a", "article": "b", "body": "c"}\n')).rows()
    [unknown] = DataFile(write(tmp_path / "other.jsonl", '{"body": "c"}\n')).rows()

    assert choose_field(first, None) == "article"
    assert choose_field(first, "body") == "body"
    with pytest.raises(DatasetUnavailable, match=r"line 1 of data.jsonl has no field 'x'; it has text, article, body"):
        choose_field(first, "x")
    with pytest.raises(DatasetUnavailable, match=r"none of document, article, source, text; it has body: --field"):
        choose_field(unknown, None)
