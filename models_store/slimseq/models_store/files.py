"""Lists, hashes, checks and writes the files of an artifact.

Runtimes open listed files inside the store only: the check fails on any other file in the folder that a runtime would
read. `slimseq.models_store.store` uses it.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slimseq.models_store.disk import writing_to
from slimseq.models_store.errors import CorruptArtifact, InvalidArtifact
from slimseq.models_store.formats import DERIVED_FORMATS, SAFETENSORS
from slimseq.models_store.manifest import FileEntry

SIGNATURE = "model.sig"
UNLISTED = frozenset({"manifest.json", "export.json", "README.md", SIGNATURE})
# The files that transformers and tokenizers read in a model folder: configurations, vocabularies, tokenizers, weights.
READ_SUFFIXES = (".json", ".model", ".spm", SAFETENSORS)
READ_NAMES = ("merges.txt", "vocab.txt")


def short_name(path: Path) -> str:
    """Returns a path relative to the store, for errors that clients see."""
    return "/".join(path.parts[-4:] if path.parent.name in DERIVED_FORMATS else path.parts[-3:])


def relative_to_store(text: str, folder: Path) -> str:
    """Returns a library's message with the path of an artifact's folder relative to the store."""
    return text.replace(str(folder), "/".join(folder.parts[-2:]))


def sha256_of(path: Path) -> str:
    """Returns the file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> list[FileEntry]:
    """Lists a folder's files with size and hash, sorted by path.

    It leaves out the manifest, export records and the model card, which change with every measurement, the signature,
    and formats that were derived later (folders with an `export.json`).
    """
    entries = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        derived = any((folder / parent / "export.json").exists() for parent in relative.parents if parent.name)
        if path.is_file() and path.name not in UNLISTED and not derived:
            entries.append(FileEntry(path=relative.as_posix(), bytes=path.stat().st_size, sha256=sha256_of(path)))
    return entries


def check_inside(path: Path, root: Path, artifact: str) -> None:
    """Checks that a path does not lead out of the store through a symbolic link.

    Args:
        path: of a file or folder; it need not exist.
        root: the store's folder, which may be a link itself.
        artifact: its name, for the message.

    Raises:
        InvalidArtifact: the path leads out of the store.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise InvalidArtifact(
            f"{artifact}: {path.relative_to(root)} is behind a link that leads out of the store; move the files into it"
        )


def check_files(folder: Path, files: Iterable[FileEntry], artifact: str, root: Path, prefix: str = "") -> None:
    """Checks files against their recorded size and hash.

    Raises:
        CorruptArtifact: a file is missing or differs; names the file, with `prefix` before it.
        InvalidArtifact: a file is outside `root`, the store.
    """
    for entry in files:
        path = folder / entry.path
        shown = f"{prefix}/{entry.path}" if prefix else entry.path
        check_inside(path, root, artifact)
        if not path.is_file():
            raise CorruptArtifact(artifact, shown, "is missing")
        if path.stat().st_size != entry.bytes:
            raise CorruptArtifact(artifact, shown, f"has {path.stat().st_size} bytes instead of {entry.bytes}")
        if sha256_of(path) != entry.sha256:
            raise CorruptArtifact(artifact, shown, "does not match its sha256")


def check_no_others(folder: Path, listed: Iterable[str], formats: Iterable[str], artifact: str) -> None:
    """Checks that an artifact's folder has no unlisted file that a runtime would read.

    Hidden files are ignored: operating systems create them, and no runtime reads them.

    Args:
        folder: the artifact's folder.
        listed: the paths of its files and of its exports' files.
        formats: the formats to check; in the folders `onnx` and `ctranslate2` every file counts.
        artifact: its name, for the message.

    Raises:
        CorruptArtifact: there is such a file; names the file.
    """
    known, formats = set(listed), set(formats)
    found = [path for path in folder.iterdir() if path.suffix in READ_SUFFIXES or path.name in READ_NAMES]
    if "safetensors" not in formats:
        found = [path for path in found if path.suffix != SAFETENSORS]
    for name in formats - {"safetensors"}:
        found += (folder / name).rglob("*")
    for path in sorted(found):
        relative = path.relative_to(folder)
        is_ignored = path.name in UNLISTED or any(part.startswith(".") for part in relative.parts)
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_ignored and not is_folder and relative.as_posix() not in known:
            raise CorruptArtifact(artifact, relative.as_posix(), "is not in its list of files")


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, through a temporary file and a rename.

    Raises:
        CannotWrite: the disk is full or read-only.
    """
    with writing_to(Path(short_name(path))):
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON object with sorted keys, so that the same content has the same bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
