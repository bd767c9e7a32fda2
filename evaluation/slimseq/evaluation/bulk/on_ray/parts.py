"""Cuts data files into parts: rows that one task reads, one actor generates from, and one file gets.

The files are read once for it. A part is a number of whole windows (`bulk.windows`), so that an actor generates in the
same windows as a worker process of one machine.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from slimseq.evaluation.bulk.data_files import DataFile, DataRow
from slimseq.evaluation.bulk.lines import Position
from slimseq.evaluation.bulk.windows import split_windows
from slimseq.evaluation.dataset_files import DatasetUnavailable

# Windows of a part. A core takes some seconds to minutes for a part, which is done again if its node dies.
PART_WINDOWS = 4
# Hexadecimal digits of the id of a row: with a billion rows, two have the same id with a probability of 1 to 2 million.
ID_DIGITS = 20


class CheckpointIds:
    """Ids of rows for Ray Data's checkpoints, by which rows that are done are left out when a job goes on.

    An id is a hash of all fields of a row, of the artifact's digest, of the options, and of the number of equal rows
    before it, since ids of a job must be distinct. It does not depend on the part in which the row is.

    Args:
        key: hash of the artifact's digest and the options.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def content(self, row: DataRow) -> bytes:
        """Returns the hash of a row that equal rows share."""
        described = json.dumps([self._key, row.fields, row.problem], sort_keys=True, default=str)
        return hashlib.sha256(described.encode()).digest()

    def of(self, row: DataRow, equal_before: int) -> str:
        content = self.content(row) + equal_before.to_bytes(8, "big")
        return hashlib.sha256(content).hexdigest()[:ID_DIGITS]


@dataclass(frozen=True)
class Part:
    """Successive rows of one data file.

    Args:
        file: number of the data file, from 0 on.
        start: position of the first row.
        index: number of the first row among those of all data files, from 0 on.
        rows: number of rows.
        size: characters of the rows.
        equal_before: for each row, how many equal rows are before it in all data files. None: there are none.
    """

    file: int
    start: Position
    index: int
    rows: int
    size: int
    equal_before: "np.ndarray[Any, np.dtype[np.uint32]] | None" = None

    def read(self, files: Sequence[DataFile]) -> Iterator[DataRow]:
        """Yields the rows.

        Raises:
            DatasetUnavailable: the file has fewer rows by now.
        """
        found = 0
        for row in islice(files[self.file].rows(self.start), self.rows):
            found += 1
            yield row
        if found < self.rows:
            raise DatasetUnavailable(f"{files[self.file].name} changed while it was read")

    def ids(self, rows: Sequence[DataRow], place: int, ids: CheckpointIds) -> list[str]:
        """Returns the ids of some rows of the part. `place` is the number of rows before them in the part."""
        if self.equal_before is None:
            return [ids.of(row, 0) for row in rows]
        counts = self.equal_before[place : place + len(rows)].tolist()
        return [ids.of(row, count) for row, count in zip(rows, counts, strict=True)]


@dataclass(frozen=True)
class _Window:
    start: Position
    rows: int
    size: int


def plan_parts(files: Sequence[DataFile], field: str, ids: CheckpointIds, count: int | None = None) -> list[Part]:
    """Returns the parts of data files, in the order of their rows.

    Args:
        files: the data. Each has a row.
        field: name of the field with the text.
        ids: of the rows.
        count: about so many parts are made, at least one for each file. None: a part has `PART_WINDOWS` windows.
    """
    # Eight bytes of the hash of each row. If two rows differ and these bytes do not, they count as equal: no harm.
    contents = array("q")
    windows: list[list[_Window]] = []
    for file in files:
        windows.append([])
        for window, _ in split_windows(file.rows(), field):
            first, size = window[0], sum(row.size for row in window)
            windows[-1].append(_Window(first.position, len(window), size))
            contents.extend(int.from_bytes(ids.content(row)[:8], "big", signed=True) for row in window)
    equal_before = _equal_before(np.frombuffer(contents, dtype=np.int64))
    length = PART_WINDOWS if count is None else -(-sum(map(len, windows)) // count)
    parts: list[Part] = []
    index = 0
    for number, own in enumerate(windows):
        for start in range(0, len(own), length):
            chosen = own[start : start + length]
            rows = sum(each.rows for each in chosen)
            counts = equal_before[index : index + rows]
            parts.append(
                Part(
                    number,
                    chosen[0].start,
                    index,
                    rows,
                    sum(each.size for each in chosen),
                    counts.copy() if counts.any() else None,
                )
            )
            index += rows
    return parts


def _equal_before(contents: "np.ndarray[Any, np.dtype[np.int64]]") -> "np.ndarray[Any, np.dtype[np.uint32]]":
    """Returns how many equal values are before each value."""
    # The sort is stable: equal values keep their order.
    order = np.argsort(contents, kind="stable")
    ordered = contents[order]
    places = np.arange(len(contents))
    is_first = np.ones(len(contents), dtype=bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    firsts = np.maximum.accumulate(np.where(is_first, places, 0))
    counts = np.empty(len(contents), dtype=np.uint32)
    counts[order] = places - firsts
    return counts
