"""Where the rows of a job go: to a file, which a later run of the same command continues, or to standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol

from slimseq.evaluation.bulk.journal import UNFINISHED, Journal, Progress, beside
from slimseq.evaluation.bulk.row_files import RowFile
from slimseq.models_store.errors import CannotWrite
from slimseq.models_store.files import writing_to

STANDARD_OUTPUT = Path("standard output")


class Output(Protocol):
    """Gets windows of rows in order. `progress` is what the job has done, an earlier run of it included."""

    @property
    def progress(self) -> Progress: ...

    def add(self, window: bytes, errors: bytes, progress: Progress) -> None:
        """Writes a window and its errors. `progress` has the new counts."""

    def finish(self) -> None:
        """Ends the output after the last window."""


@contextmanager
def file_output(
    path: Path, errors: Path, form: RowFile, key: str, *, is_anew: bool, is_resumable: bool
) -> Iterator[Output]:
    """Opens the unfinished files of an output. See `journal`."""
    journal = Journal(path, errors, key)
    with journal.open(is_anew=is_anew, is_resumable=is_resumable):
        with writing_to(path):
            journal.begin(form.head())
        yield _FileOutput(journal, path, form)


@contextmanager
def standard_output(errors: Path | None, form: RowFile) -> Iterator[Output]:
    """Writes rows to standard output, and errors to a file if there is one."""
    with ExitStack() as stack:
        error_file = None
        if errors is not None:
            with writing_to(errors):
                error_file = stack.enter_context(errors.open("wb"))
        output = _StandardOutput(errors, error_file)
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
        unfinished = beside(self._path, UNFINISHED)
        with writing_to(self._path):
            try:
                self._journal.finish(self._form.finish(self._journal.partial, unfinished))
            finally:
                unfinished.unlink(missing_ok=True)


class _StandardOutput:
    def __init__(self, errors: Path | None, error_file: IO[bytes] | None) -> None:
        self._errors = errors
        self._error_file = error_file
        self.progress = Progress()

    def write(self, content: bytes) -> None:
        """Writes to standard output.

        Raises:
            CannotWrite: it is closed, as by a program behind a pipe that has ended, or its disk is full.
        """
        try:
            with writing_to(STANDARD_OUTPUT):
                sys.stdout.buffer.write(content)
                sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            # The interpreter flushes at its end, and would complain once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CannotWrite(STANDARD_OUTPUT, "the program that reads it has ended") from error

    def add(self, window: bytes, errors: bytes, progress: Progress) -> None:
        self.write(window)
        if self._error_file is not None and self._errors is not None:
            with writing_to(self._errors):
                self._error_file.write(errors)
                self._error_file.flush()
        self.progress = progress

    def finish(self) -> None:
        """Nothing is left to do: all windows are written."""
