"""Hashing and writing files: what an artifact's list of files is made of and checked with.

Only files that are listed and that lie inside the store are opened: what a runtime would read beside them makes the
check fail.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from slimseq.models_store.disk import writing_to
from slimseq.models_store.errors import CorruptArtifact, InvalidArtifact
from slimseq.models_store.formats import DERIVED_FORMATS, SAFETENSORS
from slimseq.models_store.manifest import FileEntry

SIGNATURE = "model.sig"
UNLISTED = frozenset({"manifest.json", "export.json", "README.md", SIGNATURE})
# What transformers and tokenizers read in a model's folder: configurations, vocabularies, tokenizer models, weights.
READ_SUFFIXES = (".json", ".model", ".spm", SAFETENSORS)
READ_NAMES = ("merges.txt", "vocab.txt")


def short_name(path: Path) -> str:
    """Returns the end of a path, from the task's folder on: what an error may tell a client."""
    return "/".join(path.parts[-4:] if path.parent.name in DERIVED_FORMATS else path.parts[-3:])


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


def check_inside(path: Path, root: Path, artifact: str) -> None:
    """Checks that a path does not lead out of the store by a link.

    Args:
        path: any, whether it is there or not.
        root: the store's folder, which may be a link itself.
        artifact: whose path it is, for the error.

    Raises:
        InvalidArtifact: it does.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise InvalidArtifact(
            f"{artifact}: {path.relative_to(root)} is behind a link that leads out of the store; put the files there"
        )


def check_files(folder: Path, files: Iterable[FileEntry], artifact: str, root: Path, shown_below: str = "") -> None:
    """Checks files against their recorded size and hash.

    Raises:
        CorruptArtifact: a file is missing or differs; names it, with `shown_below` before it.
        InvalidArtifact: a file is outside of `root`, the store.
    """
    for entry in files:
        path = folder / entry.path
        shown = f"{shown_below}/{entry.path}" if shown_below else entry.path
        check_inside(path, root, artifact)
        if not path.is_file():
            raise CorruptArtifact(artifact, shown, "is missing")
        if path.stat().st_size != entry.bytes:
            raise CorruptArtifact(artifact, shown, f"has {path.stat().st_size} bytes instead of {entry.bytes}")
        if sha256_of(path) != entry.sha256:
            raise CorruptArtifact(artifact, shown, "does not match its sha256")


def check_no_others(folder: Path, listed: Iterable[str], formats: Iterable[str], artifact: str) -> None:
    """Checks that nothing stands beside an artifact's files that a runtime would read too.

    Hidden files are left aside: systems put them there, and no runtime reads them.

    Args:
        folder: the artifact's folder.
        listed: the paths of its files and of its exports' files.
        formats: those to look at; of `onnx` and `ctranslate2` everything in their folders counts.
        artifact: its name, for the error.

    Raises:
        CorruptArtifact: there is such a file; names it.
    """
    known, formats = set(listed), set(formats)
    found = [path for path in folder.iterdir() if path.suffix in READ_SUFFIXES or path.name in READ_NAMES]
    if "safetensors" not in formats:
        found = [path for path in found if path.suffix != SAFETENSORS]
    for name in formats - {"safetensors"}:
        found += (folder / name).rglob("*")
    for path in sorted(found):
        relative = path.relative_to(folder)
        is_left_aside = path.name in UNLISTED or any(part.startswith(".") for part in relative.parts)
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_left_aside and not is_folder and relative.as_posix() not in known:
            raise CorruptArtifact(artifact, relative.as_posix(), "is not in its list of files")


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
