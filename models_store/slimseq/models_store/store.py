"""Finds, reads, verifies and writes artifacts on disk.

An artifact is the folder `<root>/<task>/<variant>/` with a `manifest.json`. It is written to a temporary folder and
renamed, so that a crash leaves the old artifact or none (`slimseq.models_store.replacing`). A derived format (`onnx/`,
`ctranslate2/`) may be added later as an export. The `export.json` of an export has the digest of its artifact and the
hashes of its own files.

Only regular files are read, and only the store's folder itself may be a link. Served files are opened from a private
copy, which is verified while it is made. In a store with trusted keys, every artifact and export must have a signature
by one of these keys.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from slimseq.models_store.derived import forget_derived
from slimseq.models_store.errors import (
    CannotWrite,
    CorruptArtifact,
    InvalidArtifact,
    SlimseqError,
    UnknownVariant,
    UnsafeArtifactPath,
)
from slimseq.models_store.files import (
    EXPORT,
    MANIFEST,
    SIGNATURE,
    Export,
    Stamp,
    check_files,
    check_no_others,
    list_files,
    open_inside,
    read_export,
    read_manifest,
    short_name,
    signed_files,
    stamp_of,
    write_manifest,
    write_text,
    writing_to,
)
from slimseq.models_store.lineage import SortKey, sort_key
from slimseq.models_store.locks import store_lock
from slimseq.models_store.manifest import DERIVED_FORMATS, FORMATS, FileEntry, Manifest, Task, format_of
from slimseq.models_store.replacing import (
    new_folder,
    remove_folder,
    remove_stale_files,
    replace_folder,
    restore_interrupted,
    work_folder,
)
from slimseq.models_store.trusted_keys import TrustedKeys

# Maximum number of artifacts of a task that `scan` lists.
MAX_VARIANTS = 500


@dataclass(frozen=True)
class Entry:
    """One folder in the store: its manifest, or the error of reading it. `stamp` identifies the manifest's file."""

    task: Task
    variant: str
    folder: Path
    manifest: Manifest | None
    error: SlimseqError | None = None
    stamp: Stamp | None = None


class Store:
    """The artifacts in one folder. Without trusted keys, artifacts need no signature.

    Methods that open an artifact raise `UnknownVariant` if it does not exist. Methods that write an artifact raise
    `ArtifactInUse` if another process writes it, and `CannotWrite` if the disk is full or read-only.
    """

    def __init__(self, root: Path, trusted: TrustedKeys | None = None) -> None:
        self.root = root
        self.trusted = trusted

    def folder(self, task: Task, variant: str) -> Path:
        """Returns the folder of an artifact, which need not exist. A name that leads out of the store is an error."""
        if not variant or variant.startswith(".") or Path(variant).name != variant:
            raise UnsafeArtifactPath(f"{variant!r} is not a valid variant name")
        return self.root / task.value / variant

    def scan(self, known: Iterable[Entry] = ()) -> list[Entry]:
        """Returns all artifacts, readable or not, by task: each root, `original` first, followed by its variants.

        `known` is the result of an earlier scan. A manifest in it is not read again if its file is unchanged.
        """
        unchanged = {(entry.folder, entry.stamp): entry for entry in known}
        found = []
        for task in Task:
            entries = []
            restore_interrupted(self.root / task.value)
            for folder in sorted((self.root / task.value).glob("*/"))[:MAX_VARIANTS]:
                if folder.name.startswith("."):
                    continue
                stamp = stamp_of(folder / MANIFEST)
                if stamp is not None:
                    known_entry = unchanged.get((folder, stamp))
                    entries.append(self._entry(task, folder, stamp, known_entry))
            found += _by_root(entries)
        return found

    def variants(self, task: Task) -> list[str]:
        return [entry.variant for entry in self.scan() if entry.task is task]

    def manifests(self, task: Task) -> list[Manifest]:
        """Returns the readable manifests of the task's artifacts, in the order of `scan`."""
        return [entry.manifest for entry in self.scan() if entry.task is task and entry.manifest is not None]

    def manifest(self, task: Task, variant: str) -> Manifest:
        """Reads one manifest.

        Raises:
            InvalidArtifact: its manifest cannot be read, belongs to another artifact, or is outside the store.
            BadSignature: no trusted key signed it, and this store has trusted keys.
        """
        return self._manifest(task, self._existing(task, variant))

    @contextmanager
    def private_copy(self, task: Task, variant: str, name: str) -> Iterator[tuple[Path, Manifest]]:
        """Yields a folder with a verified copy of the files that the format `name` needs, and the manifest.

        The copy is removed when the block ends. Files of it that are open or mapped by then can still be read.

        The copy has only verified bytes, whatever is written to the store meanwhile. Libraries map weights into memory.
        Without a copy, an overwritten file of the store would change the answers of an open model, and a truncated file
        would end the process with SIGBUS.

        Raises:
            UnknownVariant, InvalidArtifact, BadSignature, CorruptArtifact: as `verify` does.
            CannotWrite: the temporary folder (`TMPDIR`) has no space for the copy.
        """
        with ExitStack() as stack:
            # Errors of the caller's block are not caught: only the making of the copy is in the `try`.
            try:
                scratch = tempfile.TemporaryDirectory(prefix="slimseq-", ignore_cleanup_errors=True)
                folder = Path(stack.enter_context(scratch)) / task.value / variant
                manifest = self.verify(task, variant, name, folder)
            except OSError as error:
                copied = Path(f"a copy of {task}/{variant} in the temporary folder (TMPDIR)")
                raise CannotWrite(copied, error.strerror or "there is none") from error
            yield folder, manifest

    def verify(self, task: Task, variant: str, only: str | None = None, copy: Path | None = None) -> Manifest:
        """Checks an artifact's files against their recorded sizes and sha256, and that no unlisted files exist.

        `only` is the format whose weights are read. None: the weights of all formats. `copy` is a folder to which the
        files are copied. Returns the manifest that lists the files.

        Raises:
            InvalidArtifact, BadSignature: as `manifest` does.
            CorruptArtifact: a file is missing, changed or not listed; names the file.
        """
        folder = self._existing(task, variant)
        manifest = self._manifest(task, folder)
        name = f"{task}/{variant}"

        files = manifest.files
        if only is not None:
            # Files of no format, such as the vocabulary, are always needed.
            files = [file for file in files if format_of(file.path) in (only, None)]
        check_files(folder, files, name, self.root, copy=copy)
        listed = [file.path for file in files]

        for format_name in DERIVED_FORMATS if only is None else [only]:
            export = self.export_of(task, variant, format_name)
            if export is None:
                continue
            if export.source != manifest.digest:
                raise CorruptArtifact(name, f"{format_name}/{EXPORT}", "was made from another artifact")
            copy_to = None if copy is None else copy / format_name
            check_files(folder / format_name, export.files, name, self.root, format_name, copy_to)
            listed += [f"{format_name}/{file.path}" for file in export.files]

        check_no_others(folder, listed, FORMATS if only is None else [only], name)
        return manifest

    def has_format(self, task: Task, variant: str, name: str) -> bool:
        """Whether an artifact has a format, among its own files or as an export."""
        return self.manifest(task, variant).has_format(name) or self.has_export(task, variant, name)

    def has_export(self, task: Task, variant: str, name: str) -> bool:
        return (self.folder(task, variant) / name / EXPORT).exists()

    def export_of(self, task: Task, variant: str, name: str) -> Export | None:
        """Reads the record of an export; None if there is no export of the format.

        Raises:
            InvalidArtifact: the record cannot be read, or does not list the files that the format needs.
            BadSignature: no trusted key signed it together with its artifact, and this store has trusted keys.
        """
        folder = self.folder(task, variant) / name
        if not (folder / EXPORT).exists():
            return None
        export = read_export(folder, self.root)
        if self.trusted is not None:
            files = signed_files(self.manifest(task, variant), name, export)
            self._check_signature(f"{task}/{variant}/{name}", files, folder)
        return export

    @contextmanager
    def writing(self, task: Task, variant: str) -> Iterator[Path]:
        """Yields an empty temporary folder that replaces the artifact if the block raises no error.

        The block writes all files, `manifest.json` included. If it raises, the old artifact stays.

        Raises:
            InvalidArtifact: the block wrote no valid manifest, or the task's folder is outside the store.
        """
        final = self.folder(task, variant)
        if final.parent.is_symlink():
            raise InvalidArtifact(f"{task}/{variant}: {task} is behind a link; move the files into the store")
        with self._replacing(final) as folder:
            yield folder
            manifest = read_manifest(folder)
            if (manifest.task, manifest.variant) != (task, variant):
                raise InvalidArtifact(f"{task}/{variant}: the manifest belongs to {manifest.task}/{manifest.variant}")

    @contextmanager
    def exporting(self, task: Task, variant: str, name: str, exporter: str, versions: dict[str, str]) -> Iterator[Path]:
        """Yields an empty temporary folder that becomes the artifact's folder `name` if the block raises no error."""
        artifact = self._existing(task, variant)
        source = self._manifest(task, artifact).digest
        # Another process would make the same export within moments, so it is worth the wait.
        with self._replacing(artifact / name, wait=True) as folder:
            yield folder
            export = Export(source=source, exporter=exporter, versions=versions, files=list_files(folder))
            write_text(folder / EXPORT, export.model_dump_json(indent=2) + "\n")

    def rewrite_manifest(self, manifest: Manifest) -> None:
        """Replaces an artifact's manifest atomically.

        What another process has added to the manifest since it was read is lost. `update_manifest` keeps it.
        """
        self.update_manifest(manifest, lambda _: manifest)

    def update_manifest(self, measured: Manifest, update: Callable[[Manifest], Manifest]) -> None:
        """Adds to an artifact's manifest atomically, for example new measurements. Other processes wait meanwhile.

        `measured` is the manifest as the caller read it. `update` gets the manifest that is on disk now, to which other
        processes may have added, and returns the new one.

        Raises:
            InvalidArtifact: the artifact on disk has other files.
        """
        folder = self._existing(measured.task, measured.variant)
        with writing_to(folder.relative_to(self.root)), store_lock(self.root):
            manifest = self._manifest(measured.task, folder)
            if manifest.digest != measured.digest:
                raise InvalidArtifact(
                    f"{measured.task}/{measured.variant} changed on disk in the meantime; measure it again"
                )
            remove_stale_files(folder)
            write_manifest(folder, update(manifest))

    def claim(self, task: Task, variant: str, wait: bool = False) -> AbstractContextManager[Path]:
        """Locks an artifact: no other process can write it while the block runs. The artifact need not exist.

        Yields a folder on the store's disk. The folder is removed at the end of the block. If this process is killed,
        the next command removes it.
        """
        return work_folder(self.folder(task, variant), wait)

    def remove(self, task: Task, variant: str) -> None:
        """Removes an artifact, and its manifests from the record of derived artifacts."""
        remove_folder(self._existing(task, variant), self.root)
        # From a record that cannot be read, `prepare` makes nothing again.
        with suppress(InvalidArtifact):
            forget_derived(self.root, task, variant)

    @contextmanager
    def _replacing(self, final: Path, wait: bool = False) -> Iterator[Path]:
        """Yields an empty folder, which replaces the folder `final` if the block raises no error."""
        with work_folder(final, wait) as work, writing_to(final.relative_to(self.root)), new_folder(work) as folder:
            yield folder
            replace_folder(folder, final, work, self.root)

    def _existing(self, task: Task, variant: str) -> Path:
        """Returns the folder of an artifact, after a restoration if a process was killed while it replaced the folder.

        Raises:
            UnknownVariant: there is no such artifact.
        """
        folder = self.folder(task, variant)
        if not (folder / MANIFEST).exists():
            restore_interrupted(folder.parent)
        if not (folder / MANIFEST).exists():
            raise UnknownVariant(task.value, variant, self.variants(task))
        return folder

    def _manifest(self, task: Task, folder: Path) -> Manifest:
        manifest = read_manifest(folder, self.root)
        if (manifest.task, manifest.variant) != (task, folder.name):
            raise InvalidArtifact(
                f"{short_name(folder / MANIFEST)} belongs to {manifest.task}/{manifest.variant} and is in"
                f" {task}/{folder.name}; move the artifact to the folder of its manifest"
            )
        self._check_signature(f"{task}/{folder.name}", manifest.files, folder)
        return manifest

    def _check_signature(self, name: str, files: Sequence[FileEntry], folder: Path) -> None:
        if self.trusted is not None:
            self.trusted.check(name, files, folder / SIGNATURE, self.root)

    def _entry(self, task: Task, folder: Path, stamp: Stamp, known: Entry | None) -> Entry:
        """Returns the entry of a folder. `known` is an earlier entry with the same manifest file, if there is one."""
        try:
            # A manifest that breaks the schema stays wrong. Other errors, such as a link, may have been mended.
            if known is not None and known.error is not None and isinstance(known.error.__cause__, ValidationError):
                return known
            if known is None or known.manifest is None:
                return Entry(task, folder.name, folder, self._manifest(task, folder), stamp=stamp)
            # Even if the manifest is the same, its folder may have become a link, and its signature may have changed.
            with open_inside(folder / MANIFEST, self.root, f"{task}/{folder.name}"):
                self._check_signature(f"{task}/{folder.name}", known.manifest.files, folder)
            return known
        except SlimseqError as error:
            return Entry(task, folder.name, folder, None, error, stamp)


def _by_root(entries: Sequence[Entry]) -> list[Entry]:
    """Sorts the artifacts of a task by the root of their lineage. An unreadable artifact counts as its own root."""
    manifests = [entry.manifest for entry in entries if entry.manifest is not None]

    def key(entry: Entry) -> SortKey:
        if entry.manifest is None:
            # Equal to `sort_key` of a root with this name.
            return entry.variant != "original", entry.variant, False, "", False, entry.variant
        return sort_key(entry.manifest, manifests)

    return sorted(entries, key=key)
