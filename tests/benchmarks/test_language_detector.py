import json
from pathlib import Path

import pytest

from benchmarks.language_detector import main
from tests.evaluation.warnings.samples import ENGLISH, FOREIGN


def test_the_share_of_warned_paragraphs_is_counted_by_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts" / "en").mkdir(parents=True)
    (tmp_path / "texts" / "en" / "first.txt").write_text("\n\n".join([*ENGLISH, "Too short."]), encoding="utf-8")
    (tmp_path / "texts" / "de.txt").write_text("\n \n".join([*FOREIGN["de"], ENGLISH[0]]), encoding="utf-8")
    out = tmp_path / "found.json"

    main(["--folder", str(tmp_path / "texts"), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))["checks"]["the check"]
    assert found["en"]["paragraphs"] == len(ENGLISH) and found["en"]["warned"] == 0
    assert found["de"]["warned"] == pytest.approx(2 / 3) and found["de"]["wrong"] == [ENGLISH[0]]
    assert "| German | 3 | 66.67 %" in capsys.readouterr().out


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no text files with paragraphs"):
        main(["--folder", str(tmp_path)])
