"""Cuts data files into parts: rows that one task reads, one actor generates from, and one file gets.

The files are read once for it. A part is a number of whole windows (`bulk.windows`), so that an actor generates in the
same windows as a worker process of one machine.
"""

import hashlib
import json
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np

from slimseq.evaluation.bulk.data_files import DataFile, DataRow, all_rows
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
    """Successive rows of the data files.

    Args:
        file: number of the data file with the first row, from 0 on.
        start: position of the first row in it.
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
            DatasetUnavailable: the files have fewer rows by now.
        """
        found = 0
        rows = chain(files[self.file].rows(self.start), all_rows(files[self.file + 1 :]))
        for row in islice(rows, self.rows):
            found += 1
            yield row
        if found < self.rows:
            raise DatasetUnavailable(f"{files[-1].name} changed while it was read")

    def ids(self, rows: Sequence[DataRow], place: int, ids: CheckpointIds) -> list[str]:
        """Returns the ids of some rows of the part. `place` is the number of rows before them in the part."""
        if self.equal_before is None:
            return [ids.of(row, 0) for row in rows]
        counts = self.equal_before[place : place + len(rows)].tolist()
        return [ids.of(row, count) for row, count in zip(rows, counts, strict=True)]


def plan_parts(files: Sequence[DataFile], field: str, ids: CheckpointIds, count: int | None = None) -> list[Part]:
    """Returns the parts of data files, in the order of their rows.

    Args:
        files: the data. Each has a row.
        field: name of the field with the text.
        ids: of the rows.
        count: number of parts, as far as there are so many windows. None: a part has about `PART_WINDOWS` of them.
    """
    # Eight bytes of the hash of each row. If two rows differ and these bytes do not, they count as equal: no harm.
    contents = array("q")
    windows: list[Part] = []
    # For each file that was begun: the number of rows before it.
    begun: list[int] = []
    index = 0
    for window, _ in split_windows(_rows(files, begun), field):
        file = bisect_right(begun, index) - 1
        windows.append(Part(file, window[0].position, index, len(window), sum(row.size for row in window)))
        contents.extend(int.from_bytes(ids.content(row)[:8], "big", signed=True) for row in window)
        index += len(window)
    equal_before = _equal_before(np.frombuffer(contents, dtype=np.int64))
    wanted = math.ceil(len(windows) / PART_WINDOWS) if count is None else min(count, len(windows))
    ends = [len(windows) * number // wanted for number in range(wanted + 1)]
    return [_joined(windows[start:end], equal_before) for start, end in pairwise(ends)]


def _rows(files: Sequence[DataFile], begun: list[int]) -> Iterator[DataRow]:
    """Yields the rows of data files. Adds to `begun` the number of rows before each file."""
    count = 0
    for file in files:
        begun.append(count)
        for row in file.rows():
            count += 1
            yield row


def _joined(windows: Sequence[Part], equal_before: "np.ndarray[Any, np.dtype[np.uint32]]") -> Part:
    """Returns one part for successive windows, with its own counts of equal rows."""
    first, rows = windows[0], sum(each.rows for each in windows)
    counts = equal_before[first.index : first.index + rows]
    return replace(
        first,
        rows=rows,
        size=sum(each.size for each in windows),
        equal_before=counts.copy() if counts.any() else None,
    )


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
