"""A run keeps what it found, so that the same command goes on with the same values."""

from pathlib import Path

import pytest

from slimseq.compression.compress.run_folder import FINDINGS, RunFolder
from slimseq.compression.errors import BadParameters
from slimseq.models_store.errors import ArtifactInUse


def test_a_finding_is_made_once_and_kept_for_the_next_run(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with first.opened():
        first.find_or_make("steps", lambda: {"steps": (1, 2)})

    with second.opened():
        found = second.find_or_make("steps", lambda: pytest.fail("it was found already"))

    assert found == {"steps": [1, 2]}


def test_the_run_that_makes_a_finding_sees_it_as_json_has_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")

    with folder.opened():
        found = folder.find_or_make("levels", lambda: {8: (1.0, 0.5)})

    assert found == {"8": [1.0, 0.5]}


def test_the_seconds_of_an_interrupted_run_count(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.opened():
        folder.find_or_make("one", lambda: 1)
    path = tmp_path / "run" / FINDINGS
    path.write_text(path.read_text().replace('"seconds": 0', '"seconds": 500', 1))

    with folder.opened():
        assert folder.is_resumed
        assert 500 <= folder.seconds < 560


def test_two_processes_never_use_one_folder_at_a_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").opened(), pytest.raises(ArtifactInUse), RunFolder(tmp_path / "run").opened():
        pass


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_findings_that_cannot_be_read_are_one_clear_error(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / FINDINGS).write_text(content)

    with pytest.raises(BadParameters, match="to start again"), RunFolder(folder).opened():
        pass
