"""Locks between processes that write to one store.

They are advisory (`flock`), and the system releases them when a process ends, however it ends. So whoever gets the lock
of a work folder knows that its last owner is gone, and cleans up after it (`slimseq.models_store.replacing`).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"


def try_lock(path: Path) -> int | None:
    """Locks a file, and makes it where there is none.

    Args:
        path: the file, in a folder that exists.

    Returns:
        A descriptor that holds the lock until it is closed; None where another one holds it.

    Raises:
        OSError: the file cannot be opened or made.
    """
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed the file meanwhile: then this lock is worth nothing.
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


@contextmanager
def store_lock(root: Path) -> Iterator[None]:
    """Waits for the lock of a whole store, and holds it while the block renames or rewrites something in it.

    Args:
        root: the store's folder, which exists.

    Raises:
        OSError: the lock's file cannot be opened or made.
    """
    descriptor = _open(root / LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    # Another user's file may be read only, which suffices on local file systems; those of a network want to write.
    with suppress(PermissionError):
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    return os.open(path, os.O_RDONLY)
