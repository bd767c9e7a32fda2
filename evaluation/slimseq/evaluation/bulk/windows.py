"""Splits rows into windows: the rows that a worker gets at once, and that count as finished together."""

from collections.abc import Iterator

from slimseq.evaluation.bulk.data_files import DataRow

# A window ends with the first of these. It is long enough for full batches, and short enough that little is lost when a
# job is killed, and that all cores have work to the end of a small file.
WINDOW_ROWS = 256
WINDOW_CHARACTERS = 64_000
# Characters of the rows of a window with all their fields, which bound the memory of windows.
WINDOW_SIZE = 1_000_000


def split_windows(rows: Iterator[DataRow], field: str) -> Iterator[tuple[list[DataRow], list[object]]]:
    """Yields windows of rows with their texts. Where a window ends follows from the rows before it alone."""
    window: list[DataRow] = []
    characters = size = 0
    for row in rows:
        window.append(row)
        characters += len(str(row.fields.get(field) or ""))
        size += row.size
        if len(window) == WINDOW_ROWS or characters >= WINDOW_CHARACTERS or size >= WINDOW_SIZE:
            yield window, _texts(window, field)
            window, characters, size = [], 0, 0
    if window:
        yield window, _texts(window, field)


def _texts(window: list[DataRow], field: str) -> list[object]:
    """Returns the values of the field. They need not be strings."""
    return [row.fields.get(field) for row in window]
