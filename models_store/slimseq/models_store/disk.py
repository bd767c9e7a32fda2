"""What the system says of a disk that is full or cannot be written, as an error that names the place."""

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
# Libraries written in other languages have exceptions of their own, with the system's words in them.
REASON = re.compile("|".join(map(re.escape, REASONS)))


class CannotWrite(SlimseqError):
    """Raised when there is no room for a file, or no permission to write it."""

    def __init__(self, place: Path, reason: str) -> None:
        super().__init__(f"{place} cannot be written: {reason}")


@contextmanager
def writing_to(place: Path) -> Iterator[None]:
    """Runs a block that writes to one place.

    Args:
        place: a file or folder, for the error.

    Raises:
        CannotWrite: the disk is full, a quota or a file's greatest size is reached, or it may not be written.
    """
    try:
        yield
    except SlimseqError:
        raise
    except Exception as error:
        if found := REASON.search(str(error)):
            raise CannotWrite(place, found.group()) from error
        raise
