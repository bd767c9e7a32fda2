"""Reads and writes the two records of an artifact: `manifest.json`, and `export.json` of a derived format."""

from pathlib import Path

from pydantic import ValidationError

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import short_name, write_text
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import FileEntry, Manifest
from slimseq.models_store.record import Digest, Record, first_error

MANIFEST = "manifest.json"
EXPORT = "export.json"
# Modification time in nanoseconds, size in bytes, and inode of a file: they change when the file is replaced.
Stamp = tuple[int, int, int]


class Export(Record):
    """The content of `export.json`, the record of a derived format."""

    source: Digest
    exporter: str
    versions: dict[str, str]
    files: list[FileEntry]


def signed_files(manifest: Manifest, name: str, export: Export) -> list[FileEntry]:
    """Returns what the signature of an export lists: the artifact's own files and the export's."""
    exported = [file.model_copy(update={"path": f"{name}/{file.path}"}) for file in export.files]
    return [*manifest.files, *exported]


def read_manifest(folder: Path) -> Manifest:
    """Reads `manifest.json` in a folder.

    Raises:
        InvalidArtifact: it is missing, not JSON, or does not match the schema.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {_first_line(error)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json` into a folder, atomically."""
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def read_export(folder: Path) -> Export:
    """Reads `export.json` in a folder, which has the name of the export's format.

    Raises:
        InvalidArtifact: it is missing or unreadable, or does not list the files that the format needs.
    """
    path = folder / EXPORT
    try:
        export = Export.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {_first_line(error)}") from error
    listed = {file.path for file in export.files}
    if missing := [file for file in DERIVED_FORMATS.get(folder.name, ()) if file not in listed]:
        raise InvalidArtifact(f"{short_name(path)} does not list {', '.join(missing)}")
    return export


def stamp_of(path: Path) -> Stamp | None:
    """Returns what identifies a version of a file; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_error(error, "manifest")
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
