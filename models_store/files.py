"""Hashing and writing files: what an artifact's list of files is made of and checked with."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from models_store.disk import writing_to
from models_store.errors import CorruptArtifact
from models_store.manifest import FileEntry

SIGNATURE = "model.sig"
UNLISTED = frozenset({"manifest.json", "export.json", "README.md", SIGNATURE})


def short_name(path: Path) -> str:
    """Returns the end of a path, from the task's folder on: what an error may tell a client."""
    return "/".join(path.parts[-4:] if path.parent.name in ("onnx", "ctranslate2") else path.parts[-3:])


def sha256_of(path: Path) -> str:
    """Returns the file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> list[FileEntry]:
    """Lists a folder's files with size and hash, sorted by path.

    Left out are the manifest, export records and the model card, which change with every measurement, the
    signature, and formats that were derived later (folders that hold an `export.json`).
    """
    entries = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        derived = any((folder / parent / "export.json").exists() for parent in relative.parents if parent.name)
        if path.is_file() and path.name not in UNLISTED and not derived:
            entries.append(FileEntry(path=relative.as_posix(), bytes=path.stat().st_size, sha256=sha256_of(path)))
    return entries


def check_files(folder: Path, files: Iterable[FileEntry], artifact: str, shown_below: str = "") -> None:
    """Checks files against their recorded size and hash.

    Raises:
        CorruptArtifact: a file is missing or differs; names it, with `shown_below` before it.
    """
    for entry in files:
        path = folder / entry.path
        shown = f"{shown_below}/{entry.path}" if shown_below else entry.path
        if not path.is_file():
            raise CorruptArtifact(artifact, shown, "is missing")
        if path.stat().st_size != entry.bytes:
            raise CorruptArtifact(artifact, shown, f"has {path.stat().st_size} bytes instead of {entry.bytes}")
        if sha256_of(path) != entry.sha256:
            raise CorruptArtifact(artifact, shown, "does not match its sha256")


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, through a temporary file and a rename.

    Raises:
        CannotWrite: the disk is full, or may not be written.
    """
    with writing_to(path):
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
