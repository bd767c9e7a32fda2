import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

from slimseq.app.generate.glossaries import GlossaryFolder
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary_files import read_glossary_file


def test_a_broken_file_is_read_once_and_the_folder_may_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Mock(side_effect=read_glossary_file)
    monkeypatch.setattr("slimseq.app.generate.glossaries.read_glossary_file", reads)
    folder = GlossaryFolder(tmp_path)

    (tmp_path / "a.csv").write_text("garden,Hof\ngarden,Park")
    for _ in range(3):
        with pytest.raises(InvalidPrompt, match="two targets"):
            folder.named("a")
    (tmp_path / "a.csv").write_text("garden,Hof")
    assert len(folder.named("a")) == 1 and reads.call_count == 2

    shutil.rmtree(tmp_path)
    assert folder.listed().glossaries == []
