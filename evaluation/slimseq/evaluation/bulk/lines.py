"""Reads and counts the lines of a file, of a gzipped file, or of standard input, in memory that does not grow."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.models_store.model_folder import open_regular

# The name of standard input and standard output.
STANDARD = Path("-")
# Maximum number of bytes of a line.
MAX_LINE_BYTES = 16 * 1024 * 1024
# Bytes that are read at once to count lines.
CHUNK_BYTES = 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Position(NamedTuple):
    """A line of a file.

    Args:
        number: of the line, from 1 on.
        offset: bytes before the line, without compression.
    """

    number: int = 1
    offset: int = 0


FIRST = Position()


class Line(NamedTuple):
    """A line without its end. `problem` says why it has no text."""

    position: Position
    text: str
    problem: str | None = None


def read_lines(path: Path, start: Position = FIRST) -> Iterator[Line]:
    """Yields the lines. A line that is no UTF-8 text, or too long, has a problem in place of its text.

    Args:
        path: of the file.
        start: the first line that is read. A gzipped file is decompressed from its beginning all the same.

    Raises:
        DatasetUnavailable: the file is not there, or cannot be read.
    """
    with _reading(path) as file:
        if start.offset:
            file.seek(start.offset)
        number, offset = start
        for line in iter(partial(file.readline, MAX_LINE_BYTES), b""):
            position = Position(number, offset)
            number += 1
            offset += len(line)
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                offset += _skip_line(file)
                yield Line(position, "", f"the line has more than {MAX_LINE_BYTES:,} bytes")
                continue
            own = line.removeprefix(BYTE_ORDER_MARK) if position.number == 1 else line
            try:
                yield Line(position, own.rstrip(b"\r\n").decode())
            except UnicodeDecodeError:
                yield Line(position, "", "the line is not UTF-8 text")


def count_lines(path: Path) -> tuple[int, int]:
    """Returns the number of lines of a file, and the bytes that they have without compression."""
    lines, size, last = 0, 0, b"\n"
    with _reading(path) as file:
        for chunk in iter(partial(file.read, CHUNK_BYTES), b""):
            lines += chunk.count(b"\n")
            size += len(chunk)
            last = chunk[-1:]
    return lines + (last != b"\n"), size


def _skip_line(file: IO[bytes]) -> int:
    """Reads to the end of a line, without keeping it. Returns the number of bytes."""
    skipped = 0
    while True:
        part = file.readline(MAX_LINE_BYTES)
        skipped += len(part)
        if not part or part.endswith(b"\n"):
            return skipped


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    if path == STANDARD:
        # Python has none if it was closed before.
        if sys.stdin is None:
            raise DatasetUnavailable("standard input is closed")
        yield sys.stdin.buffer
        return
    try:
        with open_regular(path) as file:
            if path.suffix == ".gz":
                # Reading by lines from a buffer is several times as fast as from the decompressor.
                with gzip.open(file) as content, io.BufferedReader(content, CHUNK_BYTES) as buffered:
                    yield buffered
            else:
                yield file
    except FileNotFoundError as error:
        raise DatasetUnavailable(f"there is no file {path}") from error
    except (EOFError, OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetUnavailable(f"{path} cannot be read: {reason}") from error
