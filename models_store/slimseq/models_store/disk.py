"""Turns the operating system's write errors (disk full, read-only, quota, permissions) into `CannotWrite`."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimseq.models_store.errors import SlimseqError

REASONS = tuple(
    os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
)
# Libraries in other languages raise their own exceptions, with the system's message in them.
REASON = re.compile("|".join(map(re.escape, REASONS)))


class CannotWrite(SlimseqError):
    """Raised when the disk is full, or there is no permission to write."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns write errors in the block into `CannotWrite`.

    Args:
        path: the file or folder that is written, for the message.

    Raises:
        CannotWrite: the disk is full, a quota or size limit is reached, or permission is missing.
    """
    try:
        yield
    except SlimseqError:
        raise
    except Exception as error:
        if found := REASON.search(str(error)):
            raise CannotWrite(path, found.group()) from error
        raise
