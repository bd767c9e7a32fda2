"""Checks the files of a model folder that others made, such as an unpacked archive, before any of them is read.

A link in such a folder may lead to a file of the machine, which would then be copied into an artifact and shared. A
device or a pipe has no end. A file of holes, or of ten gigabytes, fills the disk or the memory. This module raises an
error for each of them that names the file. The readers of the files check the content.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import BLOCK_BYTES, CHUNK_BYTES, is_sparse

# Configurations. The largest published configurations list some thousand added tokens in 1 MB.
MAX_CONFIGURATION_BYTES = 16 * 1024 * 1024
# Vocabularies and tokenizers. The largest published files have 34 MB.
MAX_VOCABULARY_BYTES = 128 * 1024 * 1024
VOCABULARIES = ("tokenizer.json", "target_tokenizer.json", "vocab.json", "added_tokens.json")
VOCABULARY_SUFFIXES = (".txt", ".model", ".spm", ".npz")
# A hub's cache has a folder for each revision of a repository, whose files are links to the contents beside it:
# `models--OWNER--NAME/snapshots/REVISION/config.json -> ../../blobs/HASH`.
SNAPSHOTS = "snapshots"
BLOBS = "blobs"
# How errors name the kinds of files.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def max_bytes(name: str) -> int | None:
    """Returns the largest allowed size of a file with this name. None for weights, which may have any size."""
    if name in VOCABULARIES or name.endswith(VOCABULARY_SUFFIXES):
        return MAX_VOCABULARY_BYTES
    if name.endswith(".json"):
        return MAX_CONFIGURATION_BYTES
    return None


def check_model_folder(folder: Path) -> None:
    """Checks that all files of a folder are regular, lie in the folder and are not too large.

    Hidden files are not checked, because they are never read.

    Links are allowed inside the folder, and inside the repository of a hub's cache.

    Raises:
        BadSource: a file fails a check. Names the first such file.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or stat.S_ISDIR(path.lstat().st_mode):
            continue
        found = resolve_inside(path, folder).lstat()
        if stat.S_ISDIR(found.st_mode):
            continue
        problem = _problem(found, max_bytes(path.name))
        if problem is not None:
            raise BadSource(f"{folder.name}/{path.name} cannot be imported: {problem}")


def resolve_inside(path: Path, folder: Path) -> Path:
    """Follows the links of a file in a model folder.

    Raises:
        BadSource: a link leads out of the folder, or nowhere.
    """
    name = f"{folder.name}/{path.name}"
    try:
        target = Path(os.path.realpath(path, strict=True))
    except OSError as error:
        raise BadSource(f"{name} cannot be imported: it is a link that leads nowhere ({error.strerror})") from error
    root = Path(os.path.realpath(folder))
    allowed = [root]
    if root.parent.name == SNAPSHOTS:
        allowed.append(root.parents[1] / BLOBS)
    if not any(target.is_relative_to(each) for each in allowed):
        raise BadSource(f"{name} cannot be imported: it is a link that leaves the folder, to {target}")
    return target


@contextmanager
def open_regular(path: Path, limit: int | None = None, *, follow_links: bool = True) -> Iterator[IO[bytes]]:
    """Opens a file for reading if it is regular and has at most `limit` bytes.

    The checks are made on the opened file, so a file that takes the same name meanwhile is not read.

    Raises:
        OSError: as `open` does, or the file is of another kind or too large. `strerror` says which.
    """
    # Without O_NONBLOCK, a pipe without a writer would block.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    if not follow_links:
        flags |= os.O_NOFOLLOW
    descriptor = os.open(path, flags)
    try:
        problem = _problem(os.fstat(descriptor), limit)
        if problem is not None:
            raise OSError(errno.EINVAL, problem, str(path))
    except BaseException:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """Reads a file as `open_regular` opens it. By default the limit is the limit for the file's name."""
    with open_regular(path, max_bytes(path.name) if limit is None else limit) as file:
        # A file may grow after its size was checked.
        return file.read(os.fstat(file.fileno()).st_size)


def copy_from_folder(folder: Path, name: str, to: Path) -> None:
    """Copies a file of a model folder, checked as `check_model_folder` does.

    Raises:
        BadSource: the file is a link that leads out of the folder, is of another kind, too large or not readable.
    """
    target = resolve_inside(folder / name, folder)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(target, max_bytes(name), follow_links=False))
        except OSError as error:
            raise BadSource(f"{folder.name}/{name} cannot be imported: {error.strerror}") from error
        remaining = os.fstat(file.fileno()).st_size
        with to.open("wb") as copied:
            while remaining:
                chunk = file.read(min(remaining, CHUNK_BYTES))
                if not chunk:
                    break
                copied.write(chunk)
                remaining -= len(chunk)


def _problem(found: os.stat_result, limit: int | None) -> str | None:
    """Returns why a file may not be read. None if it may be read."""
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        return f"it is {KINDS.get(kind, 'of another kind')} and not a regular file"
    if limit is not None and found.st_size > limit:
        return f"it has {found.st_size:,} bytes, and such a file has at most {limit:,}"
    if is_sparse(found):
        held = BLOCK_BYTES * found.st_blocks
        return f"it is sparse: {found.st_size:,} bytes, of which the disk holds {held:,}"
    return None
