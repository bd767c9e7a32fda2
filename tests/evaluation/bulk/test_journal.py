"""The journal: what is finished counts, what a killed run began does not, and another job does not go on from it."""

import fcntl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.evaluation.bulk.journal import CannotContinue, Journal, Progress


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def journal(out: Path, key: str = "key") -> Journal:
    return Journal(out, out.with_name("errors"), key)


def written(out: Path, *windows: str, key: str = "key") -> Journal:
    """Returns the journal of a run that ended after some windows, each with an error."""
    found = journal(out, key)
    with found.open(is_anew=False):
        found.begin(b"head\n")
        for window in windows:
            rows = found.progress.rows + 1
            found.add(window.encode(), b"e\n", replace(found.progress, rows=rows, errors=rows))
    return found


def test_a_further_run_goes_on_behind_the_last_window(out: Path) -> None:
    written(out, "one\n", "two\n")
    with (out.parent / "out.jsonl.partial").open("ab") as file:
        file.write(b"thr")
    with (out.parent / "out.jsonl.journal").open("ab") as file:
        file.write(b'{"bytes": 9')

    again = written(out, "three\n")
    again.finish(again.partial)

    assert out.read_text() == "head\none\ntwo\nthree\n"
    assert (out.parent / "errors").read_text() == "e\ne\ne\n"
    assert sorted(path.name for path in out.parent.iterdir()) == ["errors", "out.jsonl"]


def test_a_job_that_is_killed_between_its_errors_and_its_output_finishes_once_more(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = written(out, "one\n")
    with monkeypatch.context() as patched:
        # The errors are written by then.
        patched.setattr(Path, "replace", _fail_for(out))
        with pytest.raises(KeyboardInterrupt):
            found.finish(found.partial)

    assert (out.parent / "errors").exists() and not out.exists()
    again = written(out)
    assert again.progress.rows == 1
    again.finish(again.partial)
    assert out.read_text() == "head\none\n"
    assert sorted(path.name for path in out.parent.iterdir()) == ["errors", "out.jsonl"]


def _fail_for(out: Path) -> Callable[[Path, Path], Path]:
    """Returns `Path.replace`, which is interrupted where the output would appear."""
    replace_file = Path.replace

    def replaced(self: Path, target: Path) -> Path:
        if target == out:
            raise KeyboardInterrupt
        return replace_file(self, target)

    return replaced


def test_a_window_whose_bytes_were_lost_in_a_crash_of_the_system_is_made_again(out: Path) -> None:
    first = written(out, "one\n", "two\n")
    partial = first.partial.read_bytes()
    first.partial.write_bytes(partial[:-2])

    assert written(out).progress.rows == 1


def test_files_of_another_job_are_left_alone_unless_the_job_begins_anew(out: Path) -> None:
    written(out, "one\n")
    before = journal(out).partial.read_bytes()

    with pytest.raises(CannotContinue, match="--anew begins anew"), journal(out, "other").open(is_anew=False):
        pass
    assert journal(out).partial.read_bytes() == before
    other = journal(out, "other")
    with other.open(is_anew=True):
        assert other.progress == Progress()
    assert journal(out).partial.read_bytes() == b""


def test_two_commands_cannot_write_the_same_file(out: Path) -> None:
    written(out, "one\n")

    with (out.parent / "out.jsonl.journal").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CannotContinue, match="another command is writing"), journal(out).open(is_anew=True):
            pass


def test_without_errors_there_is_no_file_of_errors(out: Path) -> None:
    found = journal(out)
    with found.open(is_anew=False):
        found.begin(b"")
        found.add(b"one\n", b"", Progress(rows=1))
    found.finish(found.partial)

    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]


def test_files_that_no_job_wrote_are_left_alone(out: Path) -> None:
    foreign = out.parent / "out.jsonl.journal"
    foreign.write_text("Dear diary\n")

    for is_anew in (False, True):
        with pytest.raises(CannotContinue, match="is in the way: no job wrote it"), journal(out).open(is_anew=is_anew):
            pass

    assert foreign.read_text() == "Dear diary\n"
    assert list(out.parent.iterdir()) == [foreign]


@pytest.mark.parametrize("name", ["out.jsonl.partial", "errors.partial"])
def test_a_partial_file_without_a_journal_is_left_alone_unless_the_job_begins_anew(out: Path, name: str) -> None:
    foreign = out.parent / name
    foreign.write_text("half a download")

    with pytest.raises(CannotContinue, match="--anew discards it"), journal(out).open(is_anew=False):
        pass
    assert foreign.read_text() == "half a download"
    assert list(out.parent.iterdir()) == [foreign]

    with journal(out).open(is_anew=True):
        assert foreign.read_text() == ""


def test_two_jobs_cannot_write_the_same_errors(out: Path) -> None:
    other = Journal(out.with_name("other.jsonl"), out.with_name("errors"), "other")

    with journal(out).open(is_anew=False):
        with pytest.raises(CannotContinue, match=r"another command is writing .*errors"), other.open(is_anew=False):
            pass
        left = sorted(path.name for path in out.parent.iterdir())

    assert left == ["errors.partial", "out.jsonl.journal", "out.jsonl.partial"]


def test_a_job_that_cannot_go_on_begins_anew_and_discards_no_other_job(out: Path) -> None:
    written(out, "one\n", key="other")
    before = journal(out).partial.read_bytes()

    with pytest.raises(CannotContinue), journal(out).open(is_anew=False, is_resumable=False):
        pass
    assert journal(out).partial.read_bytes() == before

    own = journal(out, "other")
    with own.open(is_anew=False, is_resumable=False):
        assert own.progress == Progress()


def test_a_damaged_line_of_the_journal_does_not_hide_the_windows_before_it(out: Path) -> None:
    written(out, "one\n")
    with (out.parent / "out.jsonl.journal").open("ab") as file:
        file.write(b"\0\0\0\n")

    assert written(out).progress.rows == 1
