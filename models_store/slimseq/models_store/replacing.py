"""Replaces a folder so that a crash at any moment leaves either the old folder or the new folder.

A process that writes a folder `NAME` holds the lock of a work folder `.tmp-NAME` next to it. In the work folder, the
process fills the new folder. Then it moves the old folder into the work folder, and renames the new folder to `NAME`. A
killed process leaves its work folder. The next reader restores an old folder that has no successor. The next writer
removes the work folder.
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

from slimseq.models_store.errors import ArtifactInUse, CannotWrite
from slimseq.models_store.files import EXPORT, MANIFEST, writing_to
from slimseq.models_store.locks import LOCK, store_lock, try_lock
from slimseq.models_store.manifest import DERIVED_FORMATS
from slimseq.models_store.places import OWN_STORE

TEMPORARY = ".tmp-"
# A folder is complete if it has its record.
RECORDS = (MANIFEST, EXPORT)
OLD = "old"
NEW = "new-"
GITIGNORE = ".gitignore"
POLL_SECONDS = 0.1
# A text file is written within moments. An older temporary file is what a killed process left.
STALE_FILE_SECONDS = 3600.0

# Work folders of this process, each with the descriptor of its lock and the number of blocks that use it.
_held: dict[Path, tuple[int, int]] = {}
# Root folders of stores that this process created. An empty one is removed with its last work folder.
_created_stores: set[Path] = set()
# Guards the two collections above against other threads.
_guard = threading.Lock()


@contextmanager
def work_folder(final: Path, wait: bool = False) -> Iterator[Path]:
    """Creates and locks the work folder of `final`. Blocks of the same process share it."""
    work = final.absolute().with_name(TEMPORARY + final.name)
    with writing_to(_shown(final)):
        _acquire(work, final, wait)
    try:
        yield work
    finally:
        _release(work, final)


@contextmanager
def new_folder(work: Path) -> Iterator[Path]:
    """Yields an empty folder in a work folder. At the end of the block, it is removed unless it was moved away."""
    folder = Path(tempfile.mkdtemp(prefix=NEW, dir=work))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(new: Path, final: Path, work: Path, root: Path) -> None:
    """Renames a folder in the locked work folder `work` to `final`, and removes the old one."""
    # Every user may read the folder, because a service may run as another user.
    for path in new.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        with store_lock(root):
            if os.path.lexists(final):
                _move(final, work / OLD)
            new.replace(final)
    except BaseException:
        _restore(work, final)
        raise
    shutil.rmtree(work / OLD, ignore_errors=True)


def remove_folder(final: Path, root: Path) -> None:
    """Removes a folder, in one step for readers of the store."""
    try:
        with work_folder(final) as work, writing_to(_shown(final)), store_lock(root):
            _move(final, work / "removed")
    except CannotWrite:
        # On a full disk, no work folder can be created, but a removal is just what the user needs.
        with writing_to(_shown(final)):
            _remove_in_place(final)


def restore_interrupted(parent: Path) -> None:
    """Restores folders that a killed process moved away and did not replace; does nothing on a read-only disk."""
    for work in parent.glob(f"{TEMPORARY}*"):
        final = parent / work.name.removeprefix(TEMPORARY)
        if (work / OLD).exists() and not _is_complete(final, work / OLD):
            with suppress(OSError):
                _clean(work)


def remove_stale_files(folder: Path) -> None:
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > STALE_FILE_SECONDS:
                path.unlink()


def _shown(final: Path) -> Path:
    """Returns the name of an artifact or export for messages, such as `translation/original/onnx`."""
    count = 3 if final.name in DERIVED_FORMATS else 2
    return Path(*final.parts[-count:])


def _acquire(work: Path, final: Path, wait: bool) -> None:
    """Creates a work folder and takes its lock, or counts one more user if this process has the lock already.

    Raises:
        ArtifactInUse: another process has the lock, and the caller does not wait.
    """
    while True:
        with _guard:
            if work in _held:
                descriptor, users = _held[work]
                _held[work] = descriptor, users + 1
                return
            _make_store_folder(work.parent.parent)
            work.parent.mkdir(parents=True, exist_ok=True)
            # Another process may remove the folder between the next two calls. Then they are tried again.
            with suppress(FileNotFoundError):
                work.mkdir(exist_ok=True)
                lock = try_lock(work / LOCK)
                if lock is not None:
                    _restore(work, final)
                    _clean_others(work)
                    _held[work] = lock, 1
                    return
                if not wait:
                    raise ArtifactInUse(str(_shown(final)))
        time.sleep(POLL_SECONDS)


def _make_store_folder(root: Path) -> None:
    """Creates the folder of a store if there is none. Git ignores the default store."""
    if not root.exists():
        _created_stores.add(root)
    root.mkdir(parents=True, exist_ok=True)
    if root in _created_stores and root == OWN_STORE.absolute():
        (root / GITIGNORE).write_text("*\n", encoding="utf-8")


def _clean_others(work: Path) -> None:
    """Removes the other work folders of a task that killed processes left."""
    for other in set(work.parent.glob(f"{TEMPORARY}*")) - {work}:
        with suppress(OSError):
            _clean(other)


def _release(work: Path, final: Path) -> None:
    """Counts one user less. The last one removes the work folder, and the store if that is empty."""
    with _guard:
        descriptor, users = _held[work]
        if users > 1:
            _held[work] = descriptor, users - 1
            return
        try:
            _restore(work, final)
            shutil.rmtree(work, ignore_errors=True)
            # `rmdir` fails if the folder of the task still has artifacts. Then the store is not empty either.
            with suppress(OSError):
                work.parent.rmdir()
                _remove_empty_store(work.parent.parent)
        finally:
            del _held[work]
            os.close(descriptor)


def _remove_empty_store(root: Path) -> None:
    """Removes a store without artifacts if this process created it. A store that existed before stays."""
    if root not in _created_stores:
        return
    own_files = (LOCK, GITIGNORE)
    if any(path.name not in own_files for path in root.iterdir()):
        return
    for name in own_files:
        (root / name).unlink(missing_ok=True)
    root.rmdir()


def _clean(work: Path) -> None:
    """Restores what a killed process moved into its work folder, and removes that, unless its process is alive."""
    if not work.is_dir():
        return
    descriptor = try_lock(work / LOCK)
    if descriptor is not None:
        try:
            _restore(work, work.with_name(work.name.removeprefix(TEMPORARY)))
            shutil.rmtree(work, ignore_errors=True)
        finally:
            os.close(descriptor)


def _restore(work: Path, final: Path) -> None:
    """Moves an old folder back if it has no complete successor. Otherwise removes the old folder."""
    old = work / OLD
    if not os.path.lexists(old):
        return
    if _is_complete(final, old):
        shutil.rmtree(old, ignore_errors=True)
        return
    if final.exists():
        shutil.rmtree(final)
    old.replace(final)


def _is_complete(final: Path, old: Path) -> bool:
    """Whether a folder exists and has the records of its predecessor."""
    records_of_old = [name for name in RECORDS if (old / name).exists()]
    return final.exists() and all((final / name).exists() for name in records_of_old)


def _move(folder: Path, to: Path) -> None:
    """Renames a folder.

    On overlayfs (container images), a folder of a lower layer cannot be renamed. Then the folder is removed in place,
    after a copy if it is an old folder that may have to be restored.
    """
    try:
        folder.replace(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if to.name == OLD:
            shutil.copytree(folder, to)
        _remove_in_place(folder)


def _remove_in_place(folder: Path) -> None:
    """Removes a folder.

    Its records go first, so that an interrupted removal leaves a folder that counts as incomplete.
    """
    for name in RECORDS:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder)
