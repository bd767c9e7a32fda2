"""Locks between processes that write to the same store.

Locks are advisory (`flock`). The operating system releases the locks of a process when the process ends or crashes. So
a process that gets the lock of a work folder knows that the last owner is gone, and cleans the folder up
(`slimseq.models_store.replacing`).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

LOCK = ".lock"


def try_lock(path: Path) -> int | None:
    """Locks a file, and makes it if it is missing.

    Returns a descriptor that holds the lock, or None if another process does.
    """
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last owner may have removed the file in the meantime: then the lock is on a deleted file.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def store_lock(root: Path) -> AbstractContextManager[None]:
    """Waits for the lock of the whole store and holds it while the block renames or rewrites files."""
    return locked(_open(root / LOCK))


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Waits for the lock of an open file or folder, holds it while the block runs, and closes the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    # On local file systems a read-only descriptor is enough for another user's file. Network ones need write access.
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as error:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY)
        raise error
