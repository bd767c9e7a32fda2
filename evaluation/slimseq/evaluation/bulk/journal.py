"""Keeps a job that writes a file resumable: the same command goes on, and ends in the same bytes.

Beside the file `OUT` are, until it is finished:

    OUT.partial          the finished windows
    OUT.journal          a line for each finished window: how far the files, the rows and the counts are
    ERRORS.partial       the errors of these windows

A window counts once its line is complete. What a killed run wrote behind the last window is cut. The first line is the
key of the job: a hash of the artifact, the options and the data. Another job does not go on from these files.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text, writing_to
from slimseq.models_store.locks import try_lock


class CannotContinue(SlimseqError):
    """Raised when the unfinished files beside an output belong to another command, or to one that still runs."""


@dataclass(frozen=True)
class Progress:
    """How far a job is: the bytes of its partial files, and what its windows have in all."""

    bytes: int = 0
    error_bytes: int = 0
    rows: int = 0
    errors: int = 0
    warned: int = 0
    words: int = 0
    output_tokens: int = 0


class Journal:
    """The unfinished files of a job. `progress` is how far it is."""

    def __init__(self, out: Path, errors: Path, key: str) -> None:
        self._out = out
        self._errors = errors
        self._key = key
        self.partial = _beside(out, ".partial")
        self._errors_partial = _beside(errors, ".partial")
        self._path = journal_of(out)
        self.progress = Progress()
        self._files: list[IO[bytes]] = []

    @contextmanager
    def open(self, is_anew: bool) -> Iterator[None]:
        """Opens the files, cut behind the last finished window.

        Raises:
            CannotContinue: another job left the files, and `is_anew` is not set; or it still runs.
            CannotWrite: the folder cannot be written.
        """
        with ExitStack() as stack, writing_to(self._out):
            lock = try_lock(self._path)
            if lock is None:
                raise CannotContinue(f"another command is writing {self._out}; try again when it has ended")
            stack.callback(os.close, lock)
            self.progress = Progress() if is_anew else self._read()
            if not self.progress.rows:
                self._path.write_text(json.dumps({"key": self._key}) + "\n", encoding="utf-8")
            paths = (self.partial, self._errors_partial, self._path)
            # Not buffered: a killed process loses nothing that it has written.
            self._files = [stack.enter_context(path.open("ab", buffering=0)) for path in paths]
            self._files[0].truncate(self.progress.bytes)
            self._files[1].truncate(self.progress.error_bytes)
            try:
                yield
            except BaseException:
                # A job that failed before its first window has nothing to go on from.
                if not self.progress.rows:
                    for path in paths:
                        path.unlink(missing_ok=True)
                raise

    def begin(self, head: bytes) -> None:
        """Writes what is before the first window, unless a window is there."""
        if not self.progress.rows:
            self._write(0, head)
            self.progress = replace(self.progress, bytes=len(head))

    def add(self, window: bytes, errors: bytes, progress: Progress) -> None:
        """Adds a window. `progress` has the new counts; its bytes are set here."""
        # The system keeps what was written if the process is killed. If the system itself ends, files may be shorter
        # than the journal says: then `_holds` finds the last window that is there.
        self._write(0, window)
        self._write(1, errors)
        self.progress = replace(
            progress,
            bytes=self.progress.bytes + len(window),
            error_bytes=self.progress.error_bytes + len(errors),
        )
        self._write(2, json.dumps(asdict(self.progress)).encode() + b"\n")

    def finish(self, finished: Path) -> None:
        """Gives the finished file its name, and the errors theirs if there are some. Removes the other files."""
        with writing_to(self._out):
            with finished.open("rb") as file:
                os.fsync(file.fileno())
            if self.progress.errors:
                # The partial file stays until the output is there: a job that is killed in between finishes once more.
                write_text(self._errors, self._errors_partial.read_text(encoding="utf-8"))
            else:
                # An earlier job that is replaced may have had some.
                self._errors.unlink(missing_ok=True)
            finished.replace(self._out)
            for path in (self.partial, self._errors_partial, self._path):
                path.unlink(missing_ok=True)

    def _write(self, place: int, content: bytes) -> None:
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[self._files[place].write(remaining) or 0 :]

    def _read(self) -> Progress:
        """Returns how far an earlier run of the same job came."""
        lines = self._path.read_bytes().split(b"\n")
        # The last part has no line end: it is empty, or what a killed run began to write.
        complete = lines[:-1]
        # The first line is the key. Without a window there is nothing to go on from.
        if len(complete) < 2:
            return Progress()
        found = Progress()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(complete[0])["key"] != self._key:
                raise CannotContinue(
                    f"{self._path} is of another command, other data or another artifact: the command that made it "
                    "goes on from there, and --anew begins anew"
                )
            for line in complete[1:]:
                progress = Progress(**json.loads(line))
                if self._holds(progress):
                    found = progress
        # So that the next line begins a line.
        with self._path.open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in complete))
        return found

    def _holds(self, progress: Progress) -> bool:
        """Whether the partial files have the bytes of a window: they may be lost after a crash of the system."""
        pairs = ((self.partial, progress.bytes), (self._errors_partial, progress.error_bytes))
        return all(path.exists() and path.stat().st_size >= size for path, size in pairs)


def journal_of(out: Path) -> Path:
    """Returns the journal of an output. It is there while a job is unfinished."""
    return _beside(out, ".journal")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
