import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

from slimseq.app.generate import glossaries
from slimseq.inference.text.errors import InvalidPrompt


def test_a_broken_file_is_read_once_and_the_folder_may_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Mock(side_effect=glossaries.read_glossary_file)
    monkeypatch.setattr(glossaries, "read_glossary_file", reads)
    folder = glossaries.GlossaryFolder(tmp_path)

    (tmp_path / "a.csv").write_text("garden,Hof\ngarden,Park")
    for _ in range(3):
        with pytest.raises(InvalidPrompt, match="two targets"):
            folder.named("a")
    (tmp_path / "a.csv").write_text("garden,Hof")
    assert len(folder.named("a")) == 1 and reads.call_count == 2

    shutil.rmtree(tmp_path)
    assert folder.listed().glossaries == []
