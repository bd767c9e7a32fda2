from pathlib import Path

import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.report.page import write_folder


def test_an_earlier_report_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "new" / "report", {"report.html": b"one", "old.png": b""})

    write_folder(tmp_path / "new" / "report", {"report.html": b"two", "new.png": b""})

    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == ["new.png", "report.html"]
    assert (tmp_path / "new" / "report" / "report.html").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report"]


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")

    with pytest.raises(BadParameters, match=r"contains notes\.md, which a report would delete"):
        write_folder(tmp_path, {"report.html": b""})

    assert [path.name for path in tmp_path.iterdir()] == ["notes.md"]


def test_a_write_that_fails_leaves_the_earlier_report_and_nothing_else(tmp_path: Path) -> None:
    write_folder(tmp_path / "report", {"report.html": b"one"})

    with pytest.raises(BadParameters, match="cannot be written"):
        write_folder(tmp_path / "report", {"report.html": b"two", "no such folder/plot.png": b""})

    assert (tmp_path / "report" / "report.html").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
