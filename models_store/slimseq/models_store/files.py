"""Lists, hashes, checks and writes the files of an artifact, among them its records.

`manifest.json` is the record of the artifact, and `export.json` the record of a derived format. A record lists all
files that a runtime may open. `check_files` checks the listed files, and `check_no_others` refuses a folder with an
unlisted file that a runtime would read. `slimseq.models_store.store` calls both.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import ValidationError

from slimseq.models_store.errors import CannotWrite, CorruptArtifact, InvalidArtifact, SlimseqError
from slimseq.models_store.json_record import Digest, Record, first_error
from slimseq.models_store.manifest import DERIVED_FORMATS, SAFETENSORS, FileEntry, Files, Manifest

MANIFEST = "manifest.json"
EXPORT = "export.json"
SIGNATURE = "model.sig"
# Files of an artifact that no record lists: each may change while the artifact stays the same.
UNLISTED = frozenset({MANIFEST, EXPORT, "README.md", SIGNATURE})
# The files that transformers and tokenizers read in a model folder: configurations, vocabularies, tokenizers, weights.
READ_SUFFIXES = (".json", ".model", ".spm", SAFETENSORS)
READ_NAMES = ("merges.txt", "vocab.txt", "shortlist.npz")
# The largest embedded manifest has 80 kB. To parse 1 MiB takes about 5 ms, and no other thread runs Python meanwhile.
MAX_RECORD_BYTES = 1024 * 1024
# Bytes that are read, hashed and copied at once.
CHUNK_BYTES = 1024 * 1024
# A sparse file takes space only when it is copied. The holes of a file below this size cannot fill a disk.
MIN_SPARSE_BYTES = 64 * 1024 * 1024
# A file is sparse if its blocks hold less than this part of it: one in eight bytes. File systems that compress hold
# more than that of model files.
SPARSE_DIVISOR = 8
# Unit of `st_blocks` in bytes, whatever the file system's block size is (stat(2)).
BLOCK_BYTES = 512
# Time of the last change in nanoseconds, size in bytes, and inode of a file. A change of the file changes one of them.
Stamp = tuple[int, int, int]
# Errors of a disk that is full, over its quota, or read-only, and of missing permissions.
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
# Libraries in other languages raise exceptions of their own types, so these errors are found by the system's message.
WRITE_ERROR_MESSAGE = re.compile("|".join(re.escape(os.strerror(code)) for code in WRITE_ERRORS))


AnyRecord = TypeVar("AnyRecord", bound=Record)


def short_name(path: Path) -> str:
    """Returns the path of an artifact's file from the task on, such as `translation/original/config.json`."""
    is_derived = path.parent.name in DERIVED_FORMATS
    return "/".join(path.parts[-4:] if is_derived else path.parts[-3:])


def relative_to_store(text: str, folder: Path) -> str:
    """Returns a library's message, in which the path of an artifact's folder begins with the task."""
    task_and_variant = "/".join(folder.parts[-2:])
    return text.replace(str(folder), task_and_variant)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def list_files(folder: Path) -> list[FileEntry]:
    """Lists a folder's files with size and hash, sorted by path.

    The list has neither the signature, nor files that change with every measurement (the manifest, export records and
    the model card), nor formats that were derived later (folders with an `export.json`).
    """
    entries = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        # The last parent of a relative path is `.`, whose name is empty.
        subfolders = [folder / parent for parent in relative.parents if parent.name]
        is_derived = any((subfolder / EXPORT).exists() for subfolder in subfolders)
        if path.is_file() and path.name not in UNLISTED and not is_derived:
            entries.append(FileEntry(path=relative.as_posix(), bytes=path.stat().st_size, sha256=sha256_of(path)))
    return entries


@contextmanager
def open_inside(path: Path, root: Path, artifact: str) -> Iterator[IO[bytes]]:
    """Opens a regular file of the store `root` for reading. Only the root itself may be a link.

    Raises:
        InvalidArtifact: the path has a link in it, or is no regular file.
        OSError: as `open` does.
    """
    *folder_names, name = path.relative_to(root).parts
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Each folder is opened inside the one before it, so that none can be replaced by a link in between.
        for folder_name in folder_names:
            inner = os.open(folder_name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Without O_NONBLOCK, the opening of a pipe would wait for a writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise InvalidArtifact(
                f"{artifact}: {path.relative_to(root)} is behind a link; move the files into the store"
            ) from error
        raise
    except ValueError as error:
        raise InvalidArtifact(f"{artifact}: {path.relative_to(root)} is no name of a file: {error}") from error
    finally:
        os.close(folder)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidArtifact(f"{artifact}: {path.relative_to(root)} is not a regular file")
        yield file


def check_files(
    folder: Path, files: Sequence[FileEntry], artifact: str, root: Path, prefix: str = "", copy: Path | None = None
) -> None:
    """Checks files against their recorded sizes and hashes, and copies them in the same pass if `copy` is a folder.

    Args:
        folder: the folder of the files.
        files: the files as their record lists them.
        artifact: name of the artifact, for errors.
        root: folder of the store, outside of which nothing is opened.
        prefix: name of the derived format, for errors.
        copy: folder to copy the files to.

    Raises:
        CorruptArtifact: a file is missing, changed, unreadable or sparse; names the file.
        InvalidArtifact: a file is behind a link, or no regular file.
        OSError: the copy cannot be written.
    """
    if copy is not None:
        copy.mkdir(parents=True, exist_ok=True)
        if sum(entry.bytes for entry in files) > shutil.disk_usage(copy).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for entry in files:
        shown = f"{prefix}/{entry.path}" if prefix else entry.path
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open_inside(folder / entry.path, root, artifact))
            except FileNotFoundError:
                raise CorruptArtifact(artifact, shown, "is missing") from None
            except OSError as error:
                raise CorruptArtifact(artifact, shown, f"cannot be read: {error.strerror}") from error
            found = os.fstat(file.fileno())
            size = found.st_size
            if size != entry.bytes:
                raise CorruptArtifact(artifact, shown, f"has {size} bytes instead of {entry.bytes}")
            if is_sparse(found):
                held = BLOCK_BYTES * found.st_blocks
                raise CorruptArtifact(artifact, shown, f"is sparse: {size} bytes, of which the disk holds {held}")
            target = None
            if copy is not None:
                (copy / entry.path).parent.mkdir(parents=True, exist_ok=True)
                target = stack.enter_context((copy / entry.path).open("xb"))
            if _hash_and_copy(file, target, size) != entry.sha256:
                raise CorruptArtifact(artifact, shown, "does not match its sha256")


def is_sparse(found: os.stat_result) -> bool:
    """Whether most of a large file is holes. Holes take no space until the file is copied."""
    if found.st_size <= MIN_SPARSE_BYTES:
        return False
    return BLOCK_BYTES * found.st_blocks < found.st_size // SPARSE_DIVISOR


def _hash_and_copy(file: IO[bytes], target: IO[bytes] | None, size: int) -> str:
    """Reads up to `size` bytes, writes them to the target if there is one, and returns their sha256.

    A file that grows meanwhile is not read further.
    """
    digest = hashlib.sha256()
    remaining = size
    while remaining:
        chunk = file.read(min(remaining, CHUNK_BYTES))
        if not chunk:
            break
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        remaining -= len(chunk)
    return digest.hexdigest()


def check_no_others(folder: Path, listed: Iterable[str], formats: Iterable[str], artifact: str) -> None:
    """Checks that an artifact's folder has no unlisted file that a runtime would read.

    In the folder of a derived format, every file counts. Hidden files are ignored: operating systems create them, and
    no runtime reads them.

    Args:
        folder: the artifact's folder.
        listed: paths of the listed files, relative to the folder.
        formats: formats whose files are checked.
        artifact: name of the artifact, for errors.

    Raises:
        CorruptArtifact: names the first unlisted file.
    """
    listed_paths = set(listed)
    checked_formats = set(formats)
    found = [path for path in folder.iterdir() if path.suffix in READ_SUFFIXES or path.name in READ_NAMES]
    if "safetensors" not in checked_formats:
        found = [path for path in found if path.suffix != SAFETENSORS]
    for name in checked_formats - {"safetensors"}:
        if (folder / name).is_symlink():
            found.append(folder / name)
        else:
            found += (folder / name).rglob("*")
    for path in sorted(found):
        relative = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        is_ignored = is_hidden or path.name in UNLISTED
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_ignored and not is_folder and relative.as_posix() not in listed_paths:
            raise CorruptArtifact(artifact, relative.as_posix(), "is not in its list of files")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns errors of writing to `path` (disk full, read-only, quota, permissions) into `CannotWrite`."""
    try:
        yield
    except SlimseqError:
        raise
    except Exception as error:
        reason = WRITE_ERROR_MESSAGE.search(str(error))
        if reason is None:
            raise
        raise CannotWrite(path, reason.group()) from error


def write_text(path: Path, text: str, mode: int = 0o644, before: os.stat_result | None = None) -> None:
    """Writes a text file atomically, by a rename. Raises `CannotWrite`.

    `before` is the state of the file that is replaced. The new file gets the same owner.
    """
    with writing_to(Path(short_name(path))):
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(mode)
            if before and (before.st_uid, before.st_gid) != (os.getuid(), os.getgid()):
                os.chown(temporary, before.st_uid, before.st_gid)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any], indent: int | None = 2) -> None:
    """Writes a JSON object with sorted keys, so that the same content has the same bytes."""
    path.write_text(json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


class Export(Record):
    """The content of `export.json`. `source` is the digest of the artifact that the export was made from."""

    source: Digest
    exporter: str
    versions: dict[str, str]
    files: Files


def signed_files(manifest: Manifest, name: str, export: Export) -> list[FileEntry]:
    """Returns what the signature of an export lists: the artifact's own files and the export's."""
    exported = [file.model_copy(update={"path": f"{name}/{file.path}"}) for file in export.files]
    return [*manifest.files, *exported]


def read_manifest(folder: Path, root: Path | None = None) -> Manifest:
    """Reads the manifest in a folder of the store `root`, or in any folder."""
    return read_record(Manifest, folder / MANIFEST, root or folder)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def read_export(folder: Path, root: Path) -> Export:
    """Reads `export.json` in a folder of the store `root`. The folder has the name of the export's format."""
    export = read_record(Export, folder / EXPORT, root)
    listed = {file.path for file in export.files}
    missing = [file for file in DERIVED_FORMATS.get(folder.name, ()) if file not in listed]
    if missing:
        raise InvalidArtifact(f"{short_name(folder / EXPORT)} does not list {', '.join(missing)}")
    return export


def stamp_of(path: Path) -> Stamp | None:
    """Returns the stamp of a file, which changes with the file. None if there is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_size, found.st_ino


def read_record(kind: type[AnyRecord], path: Path, root: Path, max_bytes: int = MAX_RECORD_BYTES) -> AnyRecord:
    """Reads a JSON file of the store `root`. Raises `InvalidArtifact` for every reason for which it cannot be read."""
    name = short_name(path) if path.parent == root else path.relative_to(root).as_posix()
    try:
        with open_inside(path, root, path.parent.relative_to(root).as_posix()) as file:
            if os.fstat(file.fileno()).st_size > max_bytes:
                raise InvalidArtifact(f"{name} has more than {max_bytes:,} bytes")
            return kind.model_validate_json(file.read(max_bytes))
    except ValidationError as error:
        raise InvalidArtifact(f"{name} cannot be read: {first_error(error, 'the file')}") from error
    except OSError as error:
        raise InvalidArtifact(f"{name} cannot be read: {error.strerror or error}") from error
