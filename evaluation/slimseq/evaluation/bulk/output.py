"""Where the rows of a job go: to a file, which a later run of the same command continues, or to standard output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from slimseq.evaluation.bulk.journal import Journal, Progress
from slimseq.evaluation.bulk.row_files import RowFile
from slimseq.models_store.files import writing_to

# Ending of the name that a Parquet file has while it is made of the finished windows.
UNFINISHED = ".unfinished"


class Output(Protocol):
    """Gets windows of rows in order. `progress` is what the job has done, an earlier run of it included."""

    @property
    def progress(self) -> Progress: ...

    def add(self, window: bytes, errors: bytes, progress: Progress) -> None:
        """Writes a window and its errors. `progress` has the new counts."""

    def finish(self) -> None:
        """Ends the output after the last window."""


@contextmanager
def file_output(path: Path, errors: Path, form: RowFile, key: str, is_anew: bool) -> Iterator[Output]:
    """Opens the unfinished files of an output. See `journal`."""
    journal = Journal(path, errors, key)
    with journal.open(is_anew):
        journal.begin(form.head())
        yield _FileOutput(journal, path, form)


@contextmanager
def standard_output(errors: Path | None, form: RowFile) -> Iterator[Output]:
    """Writes rows to standard output, and errors to a file if there is one."""
    output = _StandardOutput(errors)
    with writing_to(Path("standard output")):
        output.write(form.head())
        yield output


class _FileOutput:
    def __init__(self, journal: Journal, path: Path, form: RowFile) -> None:
        self._journal = journal
        self._path = path
        self._form = form

    @property
    def progress(self) -> Progress:
        return self._journal.progress

    def add(self, window: bytes, errors: bytes, progress: Progress) -> None:
        with writing_to(self._path):
            self._journal.add(window, errors, progress)

    def finish(self) -> None:
        unfinished = self._path.with_name(self._path.name + UNFINISHED)
        with writing_to(self._path):
            try:
                self._journal.finish(self._form.finish(self._journal.partial, unfinished))
            finally:
                unfinished.unlink(missing_ok=True)


class _StandardOutput:
    def __init__(self, errors: Path | None) -> None:
        self._errors = errors
        self.progress = Progress()

    def write(self, content: bytes) -> None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def add(self, window: bytes, errors: bytes, progress: Progress) -> None:
        self.write(window)
        if errors and self._errors is not None:
            with self._errors.open("ab") as file:
                file.write(errors)
        self.progress = replace(progress)

    def finish(self) -> None:
        """Nothing is left to do: all windows are written."""
