"""Data set files of every form, and the error for each line that cannot be used."""

import io
import re
from pathlib import Path

import pytest

from slimseq.evaluation.dataset_files import (
    MAX_LINE,
    DatasetUnavailable,
    Example,
    read_examples,
    read_parallel_text,
    read_uploaded,
)
from slimseq.models_store.manifest import Task


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("names", [("document", "summary"), ("article", "highlights"), ("source", "target")])
def test_summaries_may_be_keyed_in_three_ways(tmp_path: Path, names: tuple[str, str]) -> None:
    path = written(tmp_path / "a.jsonl", f'{{"{names[0]}": "Ducks.", "{names[1]}": "Birds.", "origin": "pond"}}\n')

    assert list(read_examples(Task.SUMMARIZATION, path)) == [Example("Ducks.", "Birds.", origin="pond")]


def test_an_example_may_have_its_own_prefix(tmp_path: Path) -> None:
    lines = (
        '{"prefix": "headline: ", "document": "A", "summary": "B"}\n{"prefix": null, "document": "C", "summary": "D"}'
    )
    path = written(tmp_path / "a.jsonl", lines)

    assert list(read_examples(Task.SUMMARIZATION, path)) == [Example("A", "B", "headline: "), Example("C", "D", None)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '\n{"target": "Hallo."}', "line 2 of a.jsonl has no `source`"),
        ("a.jsonl", '\n{"source": "Hi."}', "line 2 of a.jsonl has no `target`"),
        ("a.jsonl", '\n{"source": "Hi.", "target": 7}', "line 2 of a.jsonl: `target` is not text"),
        ("a.jsonl", '\n{"source": " ", "target": "Hallo."}', "line 2 of a.jsonl: `source` is empty"),
        ("a.jsonl", '{"source": "A", "target": "B", "prefix": 1}', "line 1 of a.jsonl: `prefix` is not text"),
        ("a.jsonl", '{"source": "A", "target": "B", "origin": "\\ud800"}', "`origin` has half of a surrogate pair"),
        ("a.jsonl", '{"source": "A \\udc00", "target": "B"}', "`source` has half of a surrogate pair"),
        ("a.jsonl", '["Hi.", "Hallo."]', "line 1 of a.jsonl is not a JSON object"),
        ("a.jsonl", '{"source": "Hi."', "line 1 of a.jsonl is not JSON"),
        ("a.tsv", "Hi.\tHallo.\nThanks.\n", "line 2 of a.tsv has no `target`"),
        ("a.csv", "Hello.,Hallo.\n", "line 1 of a.csv must name the columns source and target"),
        ("a.csv", "source,target\nHello.\n", "line 2 of a.csv: `target` is not text"),
        ("a.csv", "source,target\nHello, you,Hallo\n", "line 2 of a.csv has more columns"),
        ("a.csv", 'source,target\n"Hello" you,Hallo\n', "line 2 of a.csv is not CSV"),
        ("a.csv", "", "line 1 of a.csv must name the columns"),
        ("a.tsv", f"Hi.\tHallo.\n{'A' * MAX_LINE}\n", "line 2 of a.tsv has more than 2,000,000 characters"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(DatasetUnavailable, match=re.escape(said)):
        list(read_examples(Task.TRANSLATION, written(tmp_path / name, content)))


def test_a_missing_key_is_named_after_the_pair_that_the_line_began(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"highlights": "Birds."}\n')

    with pytest.raises(DatasetUnavailable, match=r"line 1 of a\.jsonl has no `article`"):
        list(read_examples(Task.SUMMARIZATION, path))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("Hallo.\n", "a.en has 2 lines and a.de has 1: they are not parallel"),
        ("Hallo.\n\n", "line 2 of a.en:a.de: `target` is empty"),
    ],
)
def test_files_that_are_not_parallel_are_refused(tmp_path: Path, targets: str, said: str) -> None:
    source, target = written(tmp_path / "a.en", "Hi.\nThanks.\n"), written(tmp_path / "a.de", targets)

    with pytest.raises(DatasetUnavailable, match=re.escape(said)):
        list(read_parallel_text(source, target))


def test_windows_line_ends_and_a_byte_order_mark_are_not_text(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "\ufeffHi.\tHallo.\r\nThanks.\tDanke.\r\n")

    assert list(read_examples(Task.TRANSLATION, path)) == [Example("Hi.", "Hallo."), Example("Thanks.", "Danke.")]


@pytest.mark.parametrize(
    ("task", "names"), [(Task.TRANSLATION, "source\ttarget"), (Task.SUMMARIZATION, "document\tsummary\tmore")]
)
def test_a_first_line_that_names_the_columns_is_no_example(tmp_path: Path, task: Task, names: str) -> None:
    path = written(tmp_path / "a.tsv", f"\ufeff{names}\r\nHi.\tHallo.\n")

    assert list(read_examples(task, path)) == [Example("Hi.", "Hallo.")]


def test_other_separators_inside_a_line_do_not_shift_parallel_files(tmp_path: Path) -> None:
    source = written(tmp_path / "a.en", "Hi\u2028there.\nThanks.\n\n")
    target = written(tmp_path / "a.de", "Hallo.\nDanke.\n\n")

    assert list(read_parallel_text(source, target)) == [
        Example("Hi\u2028there.", "Hallo."),
        Example("Thanks.", "Danke."),
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match=r"there is no file .*nothing\.tsv"):
        list(read_examples(Task.TRANSLATION, tmp_path / "nothing.tsv"))


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\xfe\xfa broken")

    with pytest.raises(DatasetUnavailable, match=name):
        list(read_examples(Task.TRANSLATION, path))


def test_a_csv_file_names_its_columns_in_any_order_and_may_have_line_breaks_in_a_field(tmp_path: Path) -> None:
    path = tmp_path / "pond.csv"
    path.write_text('summary,origin,document\n"Birds, all.",pond,"Ducks.\nGeese."\n', encoding="utf-8")

    assert list(read_examples(Task.SUMMARIZATION, path)) == [Example("Ducks.\nGeese.", "Birds, all.", origin="pond")]


def test_an_upload_is_read_by_its_name_and_a_compressed_one_is_refused() -> None:
    file = io.BytesIO(b"Hi.\tHallo.\n")

    assert list(read_uploaded(Task.TRANSLATION, "pairs.tsv", file)) == [Example("Hi.", "Hallo.")]
    for name in ("pairs.tsv.gz", "pairs.pdf", ""):
        with pytest.raises(DatasetUnavailable, match="is no data set"):
            list(read_uploaded(Task.TRANSLATION, name, file))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("deep.jsonl", b"[" * 200_000, "line 1 of deep.jsonl is not JSON"),
        ("wide.csv", b"source,target\n" + b"a," * 400_000, "line 2 of wide.csv has more than 500,000 characters"),
    ],
)
def test_an_upload_that_would_hold_the_parser_is_refused(name: str, content: bytes, said: str) -> None:
    with pytest.raises(DatasetUnavailable, match=said):
        list(read_uploaded(Task.TRANSLATION, name, io.BytesIO(content)))
