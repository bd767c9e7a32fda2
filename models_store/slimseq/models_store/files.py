"""Lists, hashes, checks and writes the files of an artifact, among them its records.

`manifest.json` is the record of the artifact, and `export.json` the record of a derived format. Runtimes open listed
files inside the store only: the check fails on any other file in the folder that a runtime would read.
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
UNLISTED = frozenset({MANIFEST, EXPORT, "README.md", SIGNATURE})
# The files that transformers and tokenizers read in a model folder: configurations, vocabularies, tokenizers, weights.
READ_SUFFIXES = (".json", ".model", ".spm", SAFETENSORS)
READ_NAMES = ("merges.txt", "vocab.txt", "shortlist.npz")
R = TypeVar("R", bound=Record)
# The largest embedded manifest has 80 kB. To parse 1 MiB takes about 5 ms, and no other thread runs Python meanwhile.
MAX_RECORD_BYTES = 1024 * 1024
CHUNK_BYTES = 1024 * 1024
# Holes in a smaller file cannot fill a disk. File systems that compress hold an eighth of a file at least.
MIN_SPARSE_BYTES = 64 * 1024 * 1024
MIN_HELD_SHARE = 8
# Time of the last change in nanoseconds, size in bytes, and inode of a file. A change of the file changes one of them.
Stamp = tuple[int, int, int]
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
# Libraries in other languages raise exceptions of their own types, with the system's message.
REASON = re.compile("|".join(re.escape(os.strerror(code)) for code in CODES))


def short_name(path: Path) -> str:
    return "/".join(path.parts[-4:] if path.parent.name in DERIVED_FORMATS else path.parts[-3:])


def relative_to_store(text: str, folder: Path) -> str:
    """Returns a library's message with the path of an artifact's folder relative to the store."""
    return text.replace(str(folder), "/".join(folder.parts[-2:]))


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
        derived = any((folder / parent / EXPORT).exists() for parent in relative.parents if parent.name)
        if path.is_file() and path.name not in UNLISTED and not derived:
            entries.append(FileEntry(path=relative.as_posix(), bytes=path.stat().st_size, sha256=sha256_of(path)))
    return entries


@contextmanager
def open_inside(path: Path, root: Path, artifact: str) -> Iterator[IO[bytes]]:
    """Opens a regular file of the store `root` for reading. Only the root itself may be a link.

    Raises:
        InvalidArtifact: the path has a link in it, or is no regular file.
        OSError: as `open` does.
    """
    *folders, name = path.relative_to(root).parts
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # A pipe without a writer would block.
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
    """Checks files against their recorded sizes and hashes.

    Meanwhile, copies the files to the folder `copy`, if given.
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
                held = 512 * found.st_blocks
                raise CorruptArtifact(artifact, shown, f"is sparse: {size} bytes, of which the disk holds {held}")
            to = None
            if copy is not None:
                (copy / entry.path).parent.mkdir(parents=True, exist_ok=True)
                to = stack.enter_context((copy / entry.path).open("xb"))
            if _copy(file, to, size) != entry.sha256:
                raise CorruptArtifact(artifact, shown, "does not match its sha256")


def is_sparse(found: os.stat_result) -> bool:
    """Whether most of a large file is holes. Holes take no space until the file is copied."""
    return found.st_size > MIN_SPARSE_BYTES and 512 * found.st_blocks < found.st_size // MIN_HELD_SHARE


def _copy(file: IO[bytes], to: IO[bytes] | None, size: int) -> str:
    """Reads up to `size` bytes, writes the bytes to the other file if there is one, and returns their sha256."""
    digest = hashlib.sha256()
    while size and (chunk := file.read(min(size, CHUNK_BYTES))):
        digest.update(chunk)
        if to is not None:
            to.write(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def check_no_others(folder: Path, listed: Iterable[str], formats: Iterable[str], artifact: str) -> None:
    """Checks that an artifact's folder has no unlisted file that a runtime would read.

    Hidden files are ignored: operating systems create them, and no runtime reads them. In the folders of derived
    `formats` every file counts.
    """
    known, formats = set(listed), set(formats)
    found = [path for path in folder.iterdir() if path.suffix in READ_SUFFIXES or path.name in READ_NAMES]
    if "safetensors" not in formats:
        found = [path for path in found if path.suffix != SAFETENSORS]
    for name in formats - {"safetensors"}:
        found += [folder / name] if (folder / name).is_symlink() else (folder / name).rglob("*")
    for path in sorted(found):
        relative = path.relative_to(folder)
        is_ignored = path.name in UNLISTED or any(part.startswith(".") for part in relative.parts)
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_ignored and not is_folder and relative.as_posix() not in known:
            raise CorruptArtifact(artifact, relative.as_posix(), "is not in its list of files")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns errors of writing to `path` (disk full, read-only, quota, permissions) into `CannotWrite`."""
    try:
        yield
    except SlimseqError:
        raise
    except Exception as error:
        if found := REASON.search(str(error)):
            raise CannotWrite(path, found.group()) from error
        raise


def write_text(path: Path, text: str, mode: int = 0o644, before: os.stat_result | None = None) -> None:
    """Writes a text file atomically, by a rename.

    The owner of the file stays as it was `before`. Raises `CannotWrite`.
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
    source: Digest
    exporter: str
    versions: dict[str, str]
    files: Files


def signed_files(manifest: Manifest, name: str, export: Export) -> list[FileEntry]:
    """Returns what the signature of an export lists: the artifact's own files and the export's."""
    return [*manifest.files, *(file.model_copy(update={"path": f"{name}/{file.path}"}) for file in export.files)]


def read_manifest(folder: Path, root: Path | None = None) -> Manifest:
    """Reads the manifest in a folder of the store `root`, or in any folder."""
    return read_record(Manifest, folder / MANIFEST, root or folder)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def read_export(folder: Path, root: Path) -> Export:
    """Reads `export.json` in a folder of the store `root`, which has the name of the export's format."""
    export = read_record(Export, folder / EXPORT, root)
    listed = {file.path for file in export.files}
    if missing := [file for file in DERIVED_FORMATS.get(folder.name, ()) if file not in listed]:
        raise InvalidArtifact(f"{short_name(folder / EXPORT)} does not list {', '.join(missing)}")
    return export


def stamp_of(path: Path) -> Stamp | None:
    """Returns an identifier of a file's version. None if there is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_size, found.st_ino


def read_record(kind: type[R], path: Path, root: Path, max_bytes: int = MAX_RECORD_BYTES) -> R:
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
