"""Ctrl-C and kill -9 at every line that writes an artifact leave the old artifact or the new one.

The next writer removes all temporary folders that a killed process left.
"""

import os
import time
from pathlib import Path

import pytest

from slimseq.models_store.errors import ArtifactInUse, CannotWrite, UnknownVariant
from slimseq.models_store.store import Store
from tests.forking import start
from tests.models_store.ending import DONE, KILLED, STOPPED, TASK, write


def ended_at(line: int, ending: int, verb: str, store: Store, tmp_path: Path) -> int:
    """Runs a verb in a process that ends at the n-th line of the code that writes; returns how it ended."""
    words = ["tests.models_store.ending", str(line), str(ending), verb, str(store.root)]
    return start(words, os.environ, tmp_path / "out", tmp_path / "out").wait(60)


def digest_in(store: Store, variant: str) -> str | None:
    """Returns the digest of an artifact that is whole, None where there is none."""
    try:
        store.verify(TASK, variant)
        return store.manifest(TASK, variant).digest
    except UnknownVariant:
        return None


def temporary_folders(store: Store) -> list[Path]:
    return list(store.root.rglob(".tmp-*"))


@pytest.mark.parametrize("ending", [STOPPED, KILLED])
@pytest.mark.parametrize(("verb", "least"), [("write", 50), ("remove", 20)])
def test_wherever_a_writing_or_a_removal_ends_the_artifact_is_the_old_one_or_what_was_wanted(
    tmp_path: Path, verb: str, least: int, ending: int
) -> None:
    wanted = write(Store(tmp_path / "other"), "slim", "new").digest if verb == "write" else None
    found = set()
    for line in range(1, 1000):
        store = Store(tmp_path / str(line))
        old = write(store, "slim", "old").digest

        ended = ended_at(line, ending, verb, store, tmp_path)

        digest = digest_in(store, "slim")
        found.add(digest)
        assert [entry.variant for entry in store.scan()] == (["slim"] if digest else [])
        write(store, "another", "later")
        assert temporary_folders(store) == []
        assert digest_in(store, "slim") in (old, wanted)
        if ended == DONE:
            break
    # The code that writes has more lines than `least`. With fewer, the trace of lines would have seen nothing.
    assert line > least
    assert found == {old, wanted}


def test_two_that_write_one_artifact_over_and_over_never_leave_half_of_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digests = {write(store, "slim", content).digest for content in ("a", "b")}

    def write_often(content: str) -> None:
        for _ in range(30):
            try:
                write(store, "slim", content)
            except ArtifactInUse:
                time.sleep(0.001)

    children = []
    for content in ("a", "b"):
        child = os.fork()
        if child == 0:
            try:
                write_often(content)
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)

    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert digest_in(store, "slim") in digests
    assert temporary_folders(store) == []


def test_an_artifact_is_removed_from_a_disk_that_has_no_room_for_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    write(store, "slim", "old")

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(CannotWrite, match="No space left on device"):
        write(store, "another", "new")
    store.remove(TASK, "slim")

    assert store.variants(TASK) == []
