"""Finds, reads, verifies and writes artifacts on disk.

An artifact is `<root>/<task>/<variant>/` with a `manifest.json`. Everything is written to a temporary folder
beside its place and renamed, so that a crash leaves the old artifact or none (`models_store.replacing`).
Formats that derive from an artifact (`onnx/`, `ctranslate2/`) may be added later as exports, each with an
`export.json` that names the artifact's digest and its own files' hashes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from models_store.disk import writing_to
from models_store.errors import CorruptArtifact, InvalidArtifact, SlimseqError, UnknownVariant, UnsafeArtifactPath
from models_store.files import check_files, list_files, short_name, write_text
from models_store.locks import store_lock
from models_store.manifest import Digest, FileEntry, Manifest, Record, Task, first_complaint
from models_store.replacing import (
    new_folder,
    put_back_interrupted,
    remove_folder,
    remove_stale_files,
    replace_folder,
    work_folder,
)

MANIFEST = "manifest.json"
EXPORT = "export.json"
FORMATS = ("onnx", "ctranslate2")
# When a file was last written, its size, and its number in the file system, which one that replaces it does not have.
Stamp = tuple[int, int, int]


class Export(Record):
    """What `export.json` says of a format that derives from an artifact."""

    source: Digest
    exporter: str
    versions: dict[str, str]
    files: list[FileEntry]


@dataclass(frozen=True)
class Entry:
    """One folder found in the store: its manifest, or the error that reading it gave.

    `stamp` is another once the manifest's file is.
    """

    task: Task
    variant: str
    folder: Path
    manifest: Manifest | None
    error: SlimseqError | None = None
    stamp: Stamp | None = None


class Store:
    """The artifacts below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, task: Task, variant: str) -> Path:
        """Returns where the artifact lies or would lie.

        Raises:
            UnsafeArtifactPath: the name would leave the store.
        """
        if not variant or variant.startswith(".") or Path(variant).name != variant:
            raise UnsafeArtifactPath(f"{variant!r} is not a name for a variant")
        return self.root / task.value / variant

    def scan(self, known: Iterable[Entry] = ()) -> list[Entry]:
        """Returns every artifact, readable or not, ordered by task and by variant with `original` first.

        Args:
            known: what an earlier scan found: a manifest that was read and is the same file still is not read again.
        """
        read = {(entry.folder, entry.stamp): entry for entry in known if entry.manifest is not None}
        entries = []
        for task in Task:
            put_back_interrupted(self.root / task.value)
            for folder in sorted((self.root / task.value).glob("*/")):
                stamp = None if folder.name.startswith(".") else _stamp_of(folder / MANIFEST)
                if stamp is not None:
                    entries.append(read.get((folder, stamp)) or _entry(task, folder, stamp))
        return sorted(entries, key=lambda entry: (entry.task.value, entry.variant != "original", entry.variant))

    def variants(self, task: Task) -> list[str]:
        """Returns the names of the task's artifacts, `original` first."""
        return [entry.variant for entry in self.scan() if entry.task is task]

    def manifest(self, task: Task, variant: str) -> Manifest:
        """Reads one manifest.

        Raises:
            UnknownVariant: there is no such artifact.
            InvalidArtifact: its manifest cannot be read.
        """
        return read_manifest(self._existing(task, variant))

    def verify(self, task: Task, variant: str, only: str | None = None) -> None:
        """Checks an artifact's files against their recorded sizes and sha256.

        Args:
            task: the artifact's task.
            variant: the artifact's name.
            only: a format (`safetensors`, `onnx`, `ctranslate2`): leaves the weights of other formats unread.

        Raises:
            UnknownVariant, InvalidArtifact: as `manifest` does.
            CorruptArtifact: a file is missing or differs; names the file.
        """
        folder = self._existing(task, variant)
        manifest = read_manifest(folder)
        name = f"{task}/{variant}"
        files = manifest.files
        if only is not None:
            files = [file for file in files if format_of(file.path) in (only, None)]
        check_files(folder, files, name)
        for format_name in FORMATS if only is None else [only]:
            export = self.export_of(task, variant, format_name)
            if export is not None:
                if export.source != manifest.digest:
                    raise CorruptArtifact(name, f"{format_name}/{EXPORT}", "was made from another artifact")
                check_files(folder / format_name, export.files, name, shown_below=format_name)

    def has_format(self, task: Task, variant: str, name: str) -> bool:
        """Whether the format is there, in the artifact itself or as an export."""
        return self.manifest(task, variant).has_format(name) or self.export_of(task, variant, name) is not None

    def export_of(self, task: Task, variant: str, name: str) -> Export | None:
        """Reads a derived format's record, or None where that format was not derived.

        Raises:
            InvalidArtifact: the record cannot be read.
        """
        path = self.folder(task, variant) / name / EXPORT
        if not path.exists():
            return None
        try:
            return Export.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as error:
            raise InvalidArtifact(f"{short_name(path)} cannot be read: {_first_line(error)}") from error

    @contextmanager
    def writing(self, task: Task, variant: str) -> Iterator[Path]:
        """Yields an empty temporary folder that replaces the artifact when the block ends well.

        The block fills the folder, `manifest.json` included. When it raises, the old artifact stays.

        Raises:
            InvalidArtifact: the block left no valid manifest.
            ArtifactInUse: another process is writing the artifact.
            CannotWrite: the disk is full, or may not be written.
        """
        final = self.folder(task, variant)
        with work_folder(final) as work, writing_to(final), new_folder(work) as folder:
            yield folder
            manifest = read_manifest(folder)
            if (manifest.task, manifest.variant) != (task, variant):
                raise InvalidArtifact(f"{task}/{variant}: the manifest is of {manifest.task}/{manifest.variant}")
            replace_folder(folder, final, work, self.root)

    @contextmanager
    def exporting(self, task: Task, variant: str, name: str, exporter: str, versions: dict[str, str]) -> Iterator[Path]:
        """Yields an empty temporary folder that becomes the artifact's folder `name` when the block ends well.

        Raises:
            UnknownVariant: there is no such artifact.
            CannotWrite: the disk is full, or may not be written.
        """
        artifact = self._existing(task, variant)
        source = read_manifest(artifact).digest
        final = artifact / name
        # Whoever else makes this export makes the same one, within moments.
        with work_folder(final, wait=True) as work, writing_to(final), new_folder(work) as folder:
            yield folder
            export = Export(source=source, exporter=exporter, versions=versions, files=list_files(folder))
            write_text(folder / EXPORT, export.model_dump_json(indent=2) + "\n")
            replace_folder(folder, final, work, self.root)

    def rewrite_manifest(self, manifest: Manifest) -> None:
        """Replaces an artifact's manifest atomically: for new measurements, never for other files.

        Raises:
            UnknownVariant: there is no such artifact.
            InvalidArtifact: the files differ from those of the artifact on disk.
        """
        folder = self._existing(manifest.task, manifest.variant)
        with writing_to(folder), store_lock(self.root):
            if read_manifest(folder).digest != manifest.digest:
                raise InvalidArtifact(f"{manifest.task}/{manifest.variant} changed on disk meanwhile; measure it again")
            remove_stale_files(folder)
            write_manifest(folder, manifest)

    @contextmanager
    def claim(self, task: Task, variant: str, wait: bool = False) -> Iterator[None]:
        """Keeps other processes from writing an artifact while the block works towards it.

        Args:
            task: the artifact's task.
            variant: its name, whether or not there is one of that name.
            wait: whether to wait while another process writes it.

        Raises:
            ArtifactInUse: another process is writing it.
            CannotWrite: the disk is full, or may not be written.
        """
        with work_folder(self.folder(task, variant), wait):
            yield

    def remove(self, task: Task, variant: str) -> None:
        """Removes an artifact.

        Raises:
            UnknownVariant: there is no such artifact.
            ArtifactInUse: another process is writing it.
            CannotWrite: it may not be removed.
        """
        remove_folder(self._existing(task, variant), self.root)

    def _existing(self, task: Task, variant: str) -> Path:
        folder = self.folder(task, variant)
        if not (folder / MANIFEST).exists():
            put_back_interrupted(folder.parent)
        if not (folder / MANIFEST).exists():
            raise UnknownVariant(task.value, variant, self.variants(task))
        return folder


def format_of(path: str) -> str | None:
    """Returns the format that a file's path belongs to, or None for a file that every format needs."""
    top = path.split("/", 1)[0]
    if top in FORMATS:
        return top
    return "safetensors" if path.endswith(".safetensors") else None


def _entry(task: Task, folder: Path, stamp: Stamp) -> Entry:
    try:
        return Entry(task, folder.name, folder, read_manifest(folder), stamp=stamp)
    except SlimseqError as error:
        return Entry(task, folder.name, folder, None, error, stamp)


def _stamp_of(path: Path) -> Stamp | None:
    """Returns what tells a file from another or from what it was; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_manifest(folder: Path) -> Manifest:
    """Reads `manifest.json` in a folder.

    Raises:
        InvalidArtifact: it is missing, not JSON, or not of this schema.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {_first_line(error)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json` into a folder, atomically."""
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_complaint(error, "manifest")
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
