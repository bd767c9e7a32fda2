"""The folder of a job on Ray: what it replaces and what not, what counts as done, and addresses."""

import json
import multiprocessing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slimseq.evaluation.bulk.file_job import Occupied
from slimseq.evaluation.bulk.journal import CannotContinue
from slimseq.evaluation.bulk.on_ray.job_folder import JobFolder, exists, write_lines
from slimseq.models_store.errors import CannotWrite

KEY = "the key"


@pytest.fixture(params=["path", "address"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path}/out" if request.param == "path" else f"file://{tmp_path}/out/"


def goes_on(folder: JobFolder, key: str = KEY, *, may_replace: bool = False, is_anew: bool = False) -> bool:
    return folder.check_free(key, may_replace=may_replace, is_anew=is_anew)


def add_part(folder: JobFolder, name: str, rows: int, *, is_committed: bool = True) -> None:
    """Writes a part as a write task of Ray Data does."""
    path = Path(folder.path)
    path.mkdir(exist_ok=True)
    (path / f"{name}.jsonl").write_text("".join(json.dumps({"index": row}) + "\n" for row in range(rows)))
    ending = ".parquet" if is_committed else ".pending.parquet"
    pq.write_table(pa.table({"id": ["an id"] * rows}), Path(folder.ids) / (name + ending))


def test_an_unfinished_job_goes_on_until_it_is_finished(out: str) -> None:
    with JobFolder(out).locked():
        folder = JobFolder(out)
        assert not goes_on(folder)
        folder.begin(KEY)
        add_part(folder, "part-a", 3)

    folder = JobFolder(out)
    with folder.locked():
        assert goes_on(folder)
        assert folder.committed_rows() == 3
        add_part(folder, "part-b", 2)
        assert folder.committed_rows() == 5
        assert len(list(folder.read_rows("jsonl"))) == 5
        folder.finish()

    assert sorted(each.name for each in Path(folder.path).parent.iterdir()) == ["out"]
    with pytest.raises(Occupied, match="out has files; --force replaces them"):
        goes_on(JobFolder(out))
    assert not goes_on(JobFolder(out), may_replace=True)


def test_the_unfinished_work_of_another_job_is_left_alone(out: str) -> None:
    folder = JobFolder(out)
    folder.begin("another key")
    add_part(folder, "part-a", 3)

    with pytest.raises(CannotContinue, match="--anew begins anew"):
        goes_on(folder, may_replace=True)
    assert folder.committed_rows() == 3

    assert not goes_on(folder, is_anew=True)
    folder.begin(KEY)
    assert folder.written_bytes() == 0 and JobFolder(out).committed_rows() == 0


def test_parts_that_are_not_committed_do_not_count_and_are_deleted(out: str) -> None:
    folder = JobFolder(out)
    folder.begin(KEY)
    add_part(folder, "part-a", 3)
    add_part(folder, "part-b", 2, is_committed=False)

    assert folder.committed_rows() == 3
    folder.delete_uncommitted()

    assert [path.name for path in Path(folder.path).iterdir()] == ["part-a.jsonl"]


def test_a_folder_with_files_of_somebody_else_is_never_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()

    with pytest.raises(Occupied, match="has files that no job wrote"):
        goes_on(JobFolder(str(tmp_path / "out")), may_replace=True, is_anew=True)
    with pytest.raises(Occupied, match="is a file"), JobFolder(str(tmp_path / "out" / "mine.txt")).locked():
        pass
    with pytest.raises(CannotWrite, match="there is no folder"), JobFolder(str(tmp_path / "absent" / "out")).locked():
        pass


def _hold(out: str, is_held: "multiprocessing.synchronize.Event", may_end: "multiprocessing.synchronize.Event") -> None:
    with JobFolder(out).locked():
        is_held.set()
        may_end.wait(60)


def test_two_commands_do_not_write_to_one_folder_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    out, is_held, may_end = str(tmp_path / "out"), context.Event(), context.Event()
    other = context.Process(target=_hold, args=(out, is_held, may_end))
    other.start()
    try:
        assert is_held.wait(60)
        with pytest.raises(CannotContinue, match="another command is writing"), JobFolder(out).locked():
            pass
    finally:
        may_end.set()
        other.join(60)

    with JobFolder(out).locked():
        pass
    assert list(tmp_path.iterdir()) == []


def test_lines_are_written_also_to_an_address(tmp_path: Path) -> None:
    address = f"file://{tmp_path}/errors.jsonl"

    write_lines(address, ["one", "two"])
    assert (tmp_path / "errors.jsonl").read_text() == "one\ntwo\n"
    write_lines(address, [])

    assert not exists(address)


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(CannotWrite, match="unknown://bucket/out"):
        JobFolder("unknown://bucket/out")
