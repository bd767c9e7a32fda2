"""How a folder takes another's place, so that a crash at any moment leaves the old one or the new one.

Whatever writes a folder `NAME` works in `.tmp-NAME` beside it, and holds that locked: the new folder is filled there,
and the old one is moved there before the new one is renamed to `NAME`. A process that was killed leaves its work folder
behind. The next one that reads puts an old folder back that has no successor yet; the next one that writes removes what
is left.
"""

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slimseq.models_store.disk import CannotWrite, writing_to
from slimseq.models_store.errors import ArtifactInUse
from slimseq.models_store.locks import LOCK, store_lock, try_lock

TEMPORARY = ".tmp-"
# A folder is whole where it has its record.
RECORDS = ("manifest.json", "export.json")
OLD = "old"
REMOVED = "removed"
NEW = "new-"
POLL_SECONDS = 0.1
# Text files are written within moments: one that is older was left by a process that was killed.
STALE_FILE_SECONDS = 3600.0

# Work folders of this process, with the descriptor of their lock and how many blocks use them.
_held: dict[Path, tuple[int, int]] = {}
# Stores that claims have made; one that stays empty goes with its last claim.
_made: set[Path] = set()
_guard = threading.Lock()


@contextmanager
def work_folder(final: Path, wait: bool = False) -> Iterator[Path]:
    """Holds the folder that `final` is written in; within one process, blocks share it.

    Args:
        final: the folder that is written or removed.
        wait: whether to wait while another process holds it.

    Raises:
        ArtifactInUse: another process holds it.
        CannotWrite: the disk is full, or may not be written.
    """
    work = final.absolute().with_name(TEMPORARY + final.name)
    with writing_to(final):
        _acquire(work, final, wait)
    try:
        yield work
    finally:
        _release(work, final)


@contextmanager
def new_folder(work: Path) -> Iterator[Path]:
    """Yields an empty folder in a work folder, and removes it if it is still there."""
    folder = Path(tempfile.mkdtemp(prefix=NEW, dir=work))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(new: Path, final: Path, work: Path, root: Path) -> None:
    """Renames a folder to `final`, and removes the one that was there.

    Args:
        new: in the work folder.
        final: what it becomes.
        work: the work folder of `final`, held.
        root: the store's folder.
    """
    _make_readable(new)
    try:
        with store_lock(root):
            if os.path.lexists(final):
                _move(final, work / OLD)
            new.replace(final)
    except BaseException:
        _put_back(work, final)
        raise
    shutil.rmtree(work / OLD, ignore_errors=True)


def remove_folder(final: Path, root: Path) -> None:
    """Removes a folder: at once for those who read the store.

    Raises:
        ArtifactInUse: another process writes it.
        CannotWrite: it may not be removed.
    """
    try:
        with work_folder(final) as work, writing_to(final), store_lock(root):
            _move(final, work / REMOVED)
    except CannotWrite:
        # A full disk has no room for a work folder either.
        with writing_to(final):
            _remove_in_place(final)


def put_back_interrupted(parent: Path) -> None:
    """Puts back what a killed process had moved aside and not replaced yet; does nothing where it may not write."""
    for work in parent.glob(f"{TEMPORARY}*"):
        final = parent / work.name.removeprefix(TEMPORARY)
        if (work / OLD).exists() and not _is_whole(final, work / OLD):
            with suppress(OSError):
                _clean(work, final)


def remove_stale_files(folder: Path) -> None:
    """Removes temporary files that a killed process left in a folder."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > STALE_FILE_SECONDS:
                path.unlink()


def _acquire(work: Path, final: Path, wait: bool) -> None:
    while True:
        with _guard:
            if work in _held:
                descriptor, count = _held[work]
                _held[work] = descriptor, count + 1
                return
            if not work.parent.parent.exists():
                _made.add(work.parent.parent)
            work.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # of its owner, who has just removed it
                work.mkdir(exist_ok=True)
                taken = try_lock(work / LOCK)
                if taken is not None:
                    _put_back(work, final)
                    _clean_beside(work)
                    _held[work] = taken, 1
                    return
                if not wait:
                    raise ArtifactInUse("/".join(final.parts[-2:]))
        time.sleep(POLL_SECONDS)


def _release(work: Path, final: Path) -> None:
    with _guard:
        descriptor, count = _held[work]
        if count > 1:
            _held[work] = descriptor, count - 1
            return
        try:
            _put_back(work, final)
            shutil.rmtree(work, ignore_errors=True)
            with suppress(OSError):  # not empty
                work.parent.rmdir()
                # A store that was made for nothing goes too; one that was there stays, empty or not.
                if work.parent.parent in _made:
                    work.parent.parent.rmdir()
        finally:
            del _held[work]
            os.close(descriptor)


def _clean_beside(work: Path) -> None:
    """Removes what killed processes left in the same folder."""
    for other in work.parent.glob(f"{TEMPORARY}*"):
        if other != work:
            with suppress(OSError):
                _clean(other, other.with_name(other.name.removeprefix(TEMPORARY)))


def _clean(work: Path, final: Path) -> None:
    """Removes a work folder that no process holds."""
    # A folder with a manifest was moved aside by an earlier release, which had no work folders.
    if not work.is_dir() or (work / RECORDS[0]).exists():
        return
    descriptor = try_lock(work / LOCK)
    if descriptor is not None:
        try:
            _put_back(work, final)
            shutil.rmtree(work, ignore_errors=True)
        finally:
            os.close(descriptor)


def _put_back(work: Path, final: Path) -> None:
    """Gives a folder its name back where nothing has come in its place, and removes it otherwise."""
    old = work / OLD
    if not os.path.lexists(old):
        return
    if _is_whole(final, old):
        shutil.rmtree(old, ignore_errors=True)
        return
    if final.exists():
        shutil.rmtree(final)
    old.replace(final)


def _is_whole(final: Path, old: Path) -> bool:
    """Whether a folder has the records that its predecessor has."""
    return all((final / name).exists() for name in RECORDS if (old / name).exists()) and final.exists()


def _move(folder: Path, to: Path) -> None:
    """Renames a folder, or copies and removes it: overlayfs renames nothing that is in a lower layer of an image."""
    try:
        folder.replace(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if to.name == OLD:
            shutil.copytree(folder, to)
        _remove_in_place(folder)


def _remove_in_place(folder: Path) -> None:
    """Removes a folder, its records first: what is left of it when this is interrupted does not look whole."""
    for name in RECORDS:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _make_readable(folder: Path) -> None:
    """Lets every user read the files: some writers make them private, and a service runs as another user."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
