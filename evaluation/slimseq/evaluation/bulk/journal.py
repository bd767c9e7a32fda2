"""Keeps a job that writes a file resumable: the same command goes on, and ends in the same bytes.

Beside the file `OUT` are, until it is finished:

    OUT.partial          the finished windows
    OUT.journal          a line for each finished window: how far the files, the rows and the counts are
    ERRORS.partial       the errors of these windows

A window counts once its line is complete. What a killed run wrote behind the last window is cut. The first line is the
key of the job: a hash of the artifact, the options and the data. Another job does not go on from these files. Files of
these names that no job wrote are left alone.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import writing_to
from slimseq.models_store.locks import try_lock

PARTIAL, JOURNAL = ".partial", ".journal"
# Ending of the name of a file that is made of partial files at the end, until it is complete.
UNFINISHED = ".unfinished"
# How the first line of a journal begins. A file that begins otherwise is not a journal.
KEY_BEGINNING = b'{"key": '


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
        self.partial = beside(out, PARTIAL)
        self._errors_partial = beside(errors, PARTIAL)
        self._path = journal_of(out)
        self.progress = Progress()
        self._files: list[IO[bytes]] = []

    @contextmanager
    def open(self, *, is_anew: bool, is_resumable: bool = True) -> Iterator[None]:
        """Opens the files, cut behind the last finished window.

        Args:
            is_anew: whether the unfinished files of any job are discarded.
            is_resumable: whether the job can go on. If not, it begins anew where it has left unfinished files.

        Raises:
            CannotContinue: another job left the files, and `is_anew` is not set; or it still runs; or no job wrote
                files of these names.
            CannotWrite: the folder cannot be written.
        """
        with ExitStack() as stack:
            with writing_to(self._out):
                self._lock(stack)
                self.progress = self._find_progress(is_anew=is_anew, is_resumable=is_resumable)
                self._open_files(stack)
            try:
                yield
            except BaseException:
                # A job that failed before its first window has nothing to go on from.
                if not self.progress.rows:
                    for path in self._paths:
                        path.unlink(missing_ok=True)
                raise

    @property
    def _paths(self) -> tuple[Path, Path, Path]:
        return self.partial, self._errors_partial, self._path

    def _lock(self, stack: ExitStack) -> None:
        """Locks the journal and the errors, which a job with another output may share."""
        for path, written in ((self._path, self._out), (self._errors_partial, self._errors)):
            lock = try_lock(path)
            if lock is None:
                raise CannotContinue(f"another command is writing {written}; try again when it has ended")
            stack.callback(os.close, lock)
            stack.push(_remove_if_empty_after_error(path))

    def _open_files(self, stack: ExitStack) -> None:
        if not self.progress.rows:
            self._path.write_text(json.dumps({"key": self._key}) + "\n", encoding="utf-8")
        # Not buffered: a killed process loses nothing that it has written.
        self._files = [stack.enter_context(path.open("ab", buffering=0)) for path in self._paths]
        self._files[0].truncate(self.progress.bytes)
        self._files[1].truncate(self.progress.error_bytes)

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
                self._copy_errors()
            else:
                # An earlier job that is replaced may have had some.
                self._errors.unlink(missing_ok=True)
            finished.replace(self._out)
            for path in self._paths:
                path.unlink(missing_ok=True)

    def _copy_errors(self) -> None:
        copy = beside(self._errors, UNFINISHED)
        try:
            shutil.copyfile(self._errors_partial, copy)
            copy.replace(self._errors)
        finally:
            copy.unlink(missing_ok=True)

    def _write(self, place: int, content: bytes) -> None:
        remaining = memoryview(content)
        while remaining:
            written = self._files[place].write(remaining) or 0
            remaining = remaining[written:]

    def _find_progress(self, *, is_anew: bool, is_resumable: bool) -> Progress:
        """Returns how far an earlier run of the same job came. Leaves alone what is not of this job."""
        content = self._path.read_bytes()
        if content and not content.startswith(KEY_BEGINNING):
            raise CannotContinue(f"{self._path} is in the way: no job wrote it, so it is left alone; rename it")
        if is_anew:
            return Progress()
        if not content:
            self._check_no_partial_files()
            return Progress()
        # The last part has no line end: it is empty, or what a killed run began to write.
        complete_lines = content.split(b"\n")[:-1]
        if len(complete_lines) < 2:
            # There is at most the key. Without a window there is nothing to go on from.
            return Progress()
        key_line, *windows = complete_lines
        if key_line != json.dumps({"key": self._key}).encode():
            raise CannotContinue(
                f"{self._path} is of another command, other data or another artifact: the command that made it "
                "goes on from there, and --anew begins anew"
            )
        # So that the next line begins a line.
        os.truncate(self._path, content.rindex(b"\n") + 1)
        return self._last_held(windows) if is_resumable else Progress()

    def _check_no_partial_files(self) -> None:
        for path in (self.partial, self._errors_partial):
            if path.exists() and path.stat().st_size > 0:
                raise CannotContinue(f"{path} is in the way: no journal says which job wrote it; --anew discards it")

    def _last_held(self, windows: Sequence[bytes]) -> Progress:
        """Returns the last window whose bytes the partial files have, given the lines of the journal."""
        for line in reversed(windows):
            try:
                progress = Progress(**json.loads(line))
            except (ValueError, TypeError):
                # A crash of the system may leave a damaged line.
                continue
            if self._holds(progress):
                return progress
        return Progress()

    def _holds(self, progress: Progress) -> bool:
        """Whether the partial files have the bytes of a window: they may be lost after a crash of the system."""
        pairs = ((self.partial, progress.bytes), (self._errors_partial, progress.error_bytes))
        return all(path.exists() and path.stat().st_size >= size for path, size in pairs)


def journal_of(out: Path) -> Path:
    """Returns the journal of an output. It is there while a job is unfinished."""
    return beside(out, JOURNAL)


def beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _remove_if_empty_after_error(path: Path) -> Callable[..., None]:
    """Returns an exit that removes an empty file, which a lock made, if an error ends the block."""

    def remove(kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and path.exists() and not path.stat().st_size:
            path.unlink()

    return remove
