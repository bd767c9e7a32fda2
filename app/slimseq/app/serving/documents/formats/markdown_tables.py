"""Tables of Markdown: where one may begin, and where the cells of its rows are."""

import re
from itertools import pairwise

from markdown_it.common.utils import MD_TRIM_CHARS
from markdown_it.rules_block import StateBlock

from slimseq.app.errors import MarkupTooComplex

# Bars between the cells of one table, which is parsed at once: less than half a second.
MAX_BARS = 40_000
# In the environment of a text: its first line, and the lines that have too many bars for a table.
CROWDED = "crowded"
# What must be the second line of a table.
_DELIMITER_ROW = re.compile(r"[-|:][-|: \t]*+")
_CELL_END = re.compile(r"(?<!\\)\|")


def may_be_table(state: StateBlock, start_line: int, end_line: int) -> bool:
    """Whether a table may begin at a line.

    Raises:
        MarkupTooComplex: it does, and has too many bars. Code and paragraphs may have as many as they like.
    """
    first_line, crowded = state.env.get(CROWDED, (1, ()))
    lines = next((lines for lines in crowded if start_line in lines), None)
    if lines is None:
        return True
    if start_line + 1 >= end_line or state.src.find("|", state.bMarks[start_line], state.eMarks[start_line]) < 0:
        return False
    start, end = state.bMarks[start_line + 1] + state.tShift[start_line + 1], state.eMarks[start_line + 1]
    if state.src.find("-", start, end) < 0 or not _DELIMITER_ROW.fullmatch(state.src, start, end):
        return False
    raise MarkupTooComplex(
        f"from line {first_line + lines.start} on there are more than {MAX_BARS} '|' without an empty line; add some"
    )


def cells_of(source: str, start: int, end: int) -> list[tuple[int, int]]:
    """Returns where the cells of a row start and end, as markdown-it's rule for tables finds them."""
    row = source[start:end]
    start += len(row) - len(row.lstrip(MD_TRIM_CHARS))
    row = row.strip(MD_TRIM_CHARS)
    edges = [-1, *(match.start() for match in _CELL_END.finditer(row)), len(row)]
    cells = [(before + 1, after) for before, after in pairwise(edges)]
    if cells and cells[0][0] == cells[0][1]:
        cells.pop(0)
    if cells and cells[-1][0] == cells[-1][1]:
        cells.pop()
    return [_trimmed(row, start, *cell) for cell in cells]


def _trimmed(row: str, offset: int, start: int, end: int) -> tuple[int, int]:
    cell = row[start:end]
    begun = start + len(cell) - len(cell.lstrip(MD_TRIM_CHARS))
    return offset + begun, offset + begun + len(cell.strip(MD_TRIM_CHARS))
