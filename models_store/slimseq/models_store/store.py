"""Finds, reads, verifies and writes artifacts on disk.

An artifact is `<root>/<task>/<variant>/` with a `manifest.json`. Everything is written to a temporary folder
beside its place and renamed, so that a crash leaves the old artifact or none (`slimseq.models_store.replacing`).
Formats that derive from an artifact (`onnx/`, `ctranslate2/`) may be added later as exports, each with an
`export.json` that names the artifact's digest and its own files' hashes. Nothing outside of the store is read: the
store's own folder may be a link, what is in it may not lead elsewhere.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from slimseq.models_store.disk import writing_to
from slimseq.models_store.errors import (
    CorruptArtifact,
    InvalidArtifact,
    SlimseqError,
    UnknownVariant,
    UnsafeArtifactPath,
)
from slimseq.models_store.files import check_files, check_inside, check_no_others, list_files, short_name, write_text
from slimseq.models_store.formats import DERIVED_FORMATS, FORMATS, format_of
from slimseq.models_store.locks import store_lock
from slimseq.models_store.manifest import (
    Digest,
    FileEntry,
    Manifest,
    Record,
    Task,
    first_complaint,
)
from slimseq.models_store.replacing import (
    new_folder,
    put_back_interrupted,
    remove_folder,
    remove_stale_files,
    replace_folder,
    work_folder,
)
from slimseq.models_store.roots import Place, place_among

MANIFEST = "manifest.json"
EXPORT = "export.json"
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
        """Returns every artifact, readable or not, by task: each root, `original` first, and its variants after it.

        Args:
            known: what an earlier scan found: a manifest that was read and is the same file still is not read again.
        """
        read = {(entry.folder, entry.stamp): entry.manifest for entry in known}
        found = []
        for task in Task:
            entries = []
            put_back_interrupted(self.root / task.value)
            for folder in sorted((self.root / task.value).glob("*/")):
                stamp = None if folder.name.startswith(".") else _stamp_of(folder / MANIFEST)
                if stamp is not None:
                    entries.append(self._entry(task, folder, stamp, read.get((folder, stamp))))
            found += _by_root(entries)
        return found

    def variants(self, task: Task) -> list[str]:
        """Returns the names of the task's artifacts, each root's variants after it, `original` first."""
        return [entry.variant for entry in self.scan() if entry.task is task]

    def manifests(self, task: Task) -> list[Manifest]:
        """Returns the manifests of the task's artifacts that can be read, in the same order."""
        return [entry.manifest for entry in self.scan() if entry.task is task and entry.manifest is not None]

    def manifest(self, task: Task, variant: str) -> Manifest:
        """Reads one manifest.

        Raises:
            UnknownVariant: there is no such artifact.
            InvalidArtifact: its manifest cannot be read, is of another artifact, or is outside of the store.
        """
        return self._manifest(task, self._existing(task, variant))

    def verify(self, task: Task, variant: str, only: str | None = None) -> None:
        """Checks an artifact's files against their recorded sizes and sha256, and that there are no others to read.

        Args:
            task: the artifact's task.
            variant: the artifact's name.
            only: a format (`safetensors`, `onnx`, `ctranslate2`): leaves the weights of other formats unread.

        Raises:
            UnknownVariant, InvalidArtifact: as `manifest` does.
            CorruptArtifact: a file is missing, differs or is not listed; names the file.
        """
        folder = self._existing(task, variant)
        manifest = self._manifest(task, folder)
        name = f"{task}/{variant}"
        files = manifest.files
        if only is not None:
            files = [file for file in files if format_of(file.path) in (only, None)]
        check_files(folder, files, name, self.root)
        listed = [file.path for file in files]
        for format_name in DERIVED_FORMATS if only is None else [only]:
            export = self.export_of(task, variant, format_name)
            if export is not None:
                if export.source != manifest.digest:
                    raise CorruptArtifact(name, f"{format_name}/{EXPORT}", "was made from another artifact")
                check_files(folder / format_name, export.files, name, self.root, shown_below=format_name)
                listed += [f"{format_name}/{file.path}" for file in export.files]
        check_no_others(folder, listed, FORMATS if only is None else [only], name)

    def has_format(self, task: Task, variant: str, name: str) -> bool:
        """Whether the format is there, in the artifact itself or as an export."""
        return self.manifest(task, variant).has_format(name) or self.has_export(task, variant, name)

    def has_export(self, task: Task, variant: str, name: str) -> bool:
        """Whether a format was derived from an artifact; its record may be unreadable."""
        return (self.folder(task, variant) / name / EXPORT).exists()

    def missing_file(self, manifest: Manifest, name: str) -> str | None:
        """Returns the first of an artifact's own files that is not there, None where all are.

        Args:
            manifest: the artifact's.
            name: a format, whose files and those that every format needs are looked for.
        """
        folder = self.folder(manifest.task, manifest.variant)
        needed = (file.path for file in manifest.files if format_of(file.path) in (name, None))
        return next((path for path in needed if not (folder / path).is_file()), None)

    def may_write(self, task: Task, variant: str) -> bool:
        """Whether this process may put files beside an artifact: neither permissions nor a read-only disk forbid it."""
        needed = os.W_OK | os.X_OK
        return os.access(self.folder(task, variant), needed, effective_ids=os.access in os.supports_effective_ids)

    def export_of(self, task: Task, variant: str, name: str) -> Export | None:
        """Reads a derived format's record, or None where that format was not derived.

        Raises:
            InvalidArtifact: the record cannot be read, or does not list what the format needs.
        """
        path = self.folder(task, variant) / name / EXPORT
        if not path.exists():
            return None
        check_inside(path, self.root, f"{task}/{variant}")
        try:
            export = Export.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as error:
            raise InvalidArtifact(f"{short_name(path)} cannot be read: {_first_line(error)}") from error
        listed = {file.path for file in export.files}
        if missing := [file for file in DERIVED_FORMATS.get(name, ()) if file not in listed]:
            raise InvalidArtifact(f"{short_name(path)} does not list {', '.join(missing)}")
        return export

    @contextmanager
    def writing(self, task: Task, variant: str) -> Iterator[Path]:
        """Yields an empty temporary folder that replaces the artifact when the block ends well.

        The block fills the folder, `manifest.json` included. When it raises, the old artifact stays.

        Raises:
            InvalidArtifact: the block left no valid manifest, or the task's folder is outside of the store.
            ArtifactInUse: another process is writing the artifact.
            CannotWrite: the disk is full, or may not be written.
        """
        final = self.folder(task, variant)
        check_inside(final.parent, self.root, f"{task}/{variant}")
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
        source = self._manifest(task, artifact).digest
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
            if self._manifest(manifest.task, folder).digest != manifest.digest:
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

    def _manifest(self, task: Task, folder: Path) -> Manifest:
        """Reads the manifest of an artifact that is in the store, and is the one that its place says."""
        check_inside(folder / MANIFEST, self.root, f"{task}/{folder.name}")
        manifest = read_manifest(folder)
        if (manifest.task, manifest.variant) != (task, folder.name):
            raise InvalidArtifact(
                f"{short_name(folder / MANIFEST)} is of {manifest.task}/{manifest.variant} and lies in"
                f" {task}/{folder.name}; put the artifact where its manifest says"
            )
        return manifest

    def _entry(self, task: Task, folder: Path, stamp: Stamp, known: Manifest | None) -> Entry:
        try:
            check_inside(folder / MANIFEST, self.root, f"{task}/{folder.name}")
            return Entry(task, folder.name, folder, known or self._manifest(task, folder), stamp=stamp)
        except SlimseqError as error:
            return Entry(task, folder.name, folder, None, error, stamp)


def _by_root(entries: Sequence[Entry]) -> list[Entry]:
    """Orders one task's artifacts by the root of their lineage; an unreadable one is a group of its own."""
    manifests = [entry.manifest for entry in entries if entry.manifest is not None]

    def place(entry: Entry) -> Place:
        if entry.manifest is None:
            return entry.variant != "original", entry.variant, False, "", False, entry.variant
        return place_among(entry.manifest, manifests)

    return sorted(entries, key=place)


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
