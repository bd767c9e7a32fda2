"""When the files of a folder of glossaries are read. `tests/service/test_glossaries.py` translates with them."""

import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

from slimseq.app.generate.glossaries import GlossaryFolder
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary_files import read_glossary_file


def test_a_broken_file_is_read_again_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Mock(side_effect=read_glossary_file)
    monkeypatch.setattr("slimseq.app.generate.glossaries.read_glossary_file", reads)
    folder = GlossaryFolder(tmp_path)

    # A term may have one target only.
    (tmp_path / "a.csv").write_text("garden,Hof\ngarden,Park")
    for _ in range(3):
        with pytest.raises(InvalidPrompt, match="two targets"):
            folder.named("a")
    (tmp_path / "a.csv").write_text("garden,Hof")

    assert len(folder.named("a")) == 1
    assert reads.call_count == 2


def test_a_folder_that_vanished_has_no_glossaries(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("garden,Hof")
    folder = GlossaryFolder(tmp_path)
    assert [each.name for each in folder.listed().glossaries] == ["a"]

    shutil.rmtree(tmp_path)

    assert folder.listed().glossaries == []
