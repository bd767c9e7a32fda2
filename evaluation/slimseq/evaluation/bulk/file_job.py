"""What a job of `slimseq generate` reads and writes, and the checks of it before work starts.

A job replaces nothing that it was not told to replace, and never the files that it reads.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimseq.evaluation.bulk.data_files import Form
from slimseq.evaluation.bulk.journal import PARTIAL, UNFINISHED, beside, journal_of
from slimseq.evaluation.bulk.lines import STANDARD
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.models_store.errors import CannotWrite, SlimseqError

# Size and time of the last change (nanoseconds) of a data file; None for standard input.
FileState = tuple[int, int] | None


class Occupied(SlimseqError):
    """Raised when a file exists that a job would replace."""


@dataclass(frozen=True)
class FileJob:
    """What a job reads and writes.

    Args:
        data: files, read one after the other. `-` is standard input.
        out: file of the rows. `-` is standard output.
        errors: file of the rows that could not be done. None: the name of `out` with `.errors.jsonl`.
        field: name of the field with the text. None: the first known one that the first row has.
        data_form: form of the data. None: the endings of the names say it.
        out_form: form of the output, likewise. Standard output has by default the form of the data.
        may_replace: whether files of these names are replaced.
        is_anew: whether what an unfinished job left is discarded.
    """

    data: tuple[Path, ...]
    out: Path
    errors: Path | None = None
    field: str | None = None
    data_form: Form | None = None
    out_form: Form | None = None
    may_replace: bool = False
    is_anew: bool = False

    @property
    def errors_path(self) -> Path | None:
        """The file of errors. None: standard output has none unless it is named."""
        if self.errors is not None or self.out == STANDARD:
            return self.errors
        return self.out.with_name(self.out.name + ".errors.jsonl")

    @property
    def is_resumable(self) -> bool:
        return STANDARD not in (*self.data, self.out)

    @property
    def written_files(self) -> list[Path]:
        """The files that the job makes at its end."""
        return [path for path in (self.out, self.errors_path) if path is not None and path != STANDARD]


def data_states(data: Sequence[Path]) -> list[FileState]:
    """Returns the states of data files, which change with the files.

    Raises:
        DatasetUnavailable: a file is missing.
    """
    return [_state_of(path) for path in data]


def _state_of(path: Path) -> FileState:
    if path == STANDARD:
        return None
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise DatasetUnavailable(f"there is no file {path}") from error
    except OSError as error:
        raise DatasetUnavailable(f"{path} cannot be read: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns


def check_targets(job: FileJob) -> None:
    """Checks that the output and its errors can be written, and replace nothing.

    Raises:
        Occupied: a file of these names exists, or is data.
        CannotWrite: a folder is missing or read-only, standard output is closed, or errors have no file.
    """
    if job.errors == STANDARD:
        raise CannotWrite(STANDARD, "errors need a file with a name")
    if job.out == STANDARD and sys.stdout is None:
        raise CannotWrite(Path("standard output"), "it is closed")
    for path in job.written_files:
        # A job that was killed at its end may have its errors, and not yet its output.
        is_own = path == job.errors_path and journal_of(job.out).exists()
        check_free(job, path, may_replace=job.may_replace or is_own)
        if not path.parent.is_dir():
            raise CannotWrite(path, f"there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK):
            raise CannotWrite(path, "Permission denied")
    names = [name.absolute() for path in job.written_files for name in _working_names(path)]
    if len(set(names)) < len(names):
        raise Occupied(f"the rows and the errors need other names than {job.out} and {job.errors_path}")


def check_free(job: FileJob, path: Path, *, may_replace: bool) -> None:
    """Checks that a file of a job can be written to: it is no data, and does not exist or may be replaced.

    Raises:
        Occupied: it can not.
    """
    for name in _working_names(path):
        if any(_is_same_file(name, data) for data in job.data):
            raise Occupied(f"{name} is data; the output needs another name")
    if path.exists() and not path.is_file():
        raise Occupied(f"{path} is not a regular file")
    if path.exists() and not may_replace:
        raise Occupied(f"{path} exists; --force replaces it")


def _working_names(path: Path) -> tuple[Path, ...]:
    """Returns the names of a file that a job makes, and of its unfinished files, which are cut and removed."""
    return path, beside(path, PARTIAL), beside(path, UNFINISHED), journal_of(path)


def _is_same_file(path: Path, data: Path) -> bool:
    """Whether two names are of the same file, also by links."""
    if data == STANDARD:
        return False
    if path.exists() and data.exists():
        return path.samefile(data)
    return path.absolute() == data.absolute()


def check_space(job: FileJob, size: int) -> None:
    """Checks that the disk has space for the rows.

    Args:
        job: with an output that is a file, and whose rows have the fields of the data.
        size: bytes of the data without compression. Each row has an output beside them.

    Raises:
        CannotWrite: the disk has less space.
    """
    if job.out.suffix == ".gz":
        return
    # A Parquet file is made of a file of its rows.
    needed = 2 * size if job.out.suffix == ".parquet" else size
    partial = beside(job.out, PARTIAL)
    # What an earlier run of the job has written is there already.
    written = partial.stat().st_size if partial.exists() else 0
    check_disk(job.out, needed, written)


def check_disk(out: Path, needed: int, written: int) -> None:
    """Checks that the disk of an output has space for its bytes, of which some may be written already.

    Raises:
        CannotWrite: the disk has less space.
    """
    free = shutil.disk_usage(out.parent).free
    if free + written < needed:
        raise CannotWrite(
            out,
            f"the disk has {free / 1e6:,.1f} MB free, and the rows take {(needed - written) / 1e6:,.1f} MB at least",
        )
