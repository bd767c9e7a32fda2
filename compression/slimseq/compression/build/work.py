"""The working folder of a build: its lock, its size and its removal."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slimseq.compression.build.measure import MEASUREMENTS
from slimseq.compression.train.options import CACHE
from slimseq.models_store.errors import ArtifactInUse
from slimseq.models_store.files import writing_to
from slimseq.models_store.locks import LOCK, try_lock

STEPS = "steps"
CHECKPOINTS = "checkpoints"
# Other files in the folder do not belong to a build.
CONTENT = (STEPS, CHECKPOINTS, MEASUREMENTS, CACHE, LOCK)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Locks a folder against other builds while the block runs.

    Raises:
        ArtifactInUse: another build uses the folder.
        CannotWrite: the disk is full or read-only.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = try_lock(folder / LOCK)
    if descriptor is None:
        raise ArtifactInUse(str(folder))
    try:
        yield
    finally:
        os.close(descriptor)


def size_of(folder: Path) -> int:
    """Returns the bytes of the build files in a folder."""
    paths = [folder / name for name in CONTENT]
    files = [each for path in paths for each in [path, *path.rglob("*")]]
    return sum(each.lstat().st_size for each in files if each.is_file() and not each.is_symlink())


def remove_work(folder: Path) -> int:
    """Removes the build files in a folder, and the folder if it is then empty.

    Returns:
        The removed bytes.

    Raises:
        ArtifactInUse: a build uses the folder.
        CannotWrite: a file cannot be removed.
    """
    if not folder.is_dir():
        return 0
    with working_in(folder), writing_to(folder):
        removed = size_of(folder)
        for name in CONTENT:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for empty in (folder, folder.parent if folder.parent.name == ".slimseq" else folder):
        with suppress(OSError):
            empty.rmdir()
    return removed
