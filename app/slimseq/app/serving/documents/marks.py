"""Takes the marks without width out of a line that is translated: models do not know them, and they hide numbers.

Spans that come out byte for byte, such as URLs and code, get theirs back before the line is split into sentences.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from slimseq.inference.text.protection.localization import is_exact
from slimseq.inference.text.protection.spans import ProtectedSpan, Range
from slimseq.inference.text.typography import MARKS

# Marks, or spans, in one step: a few milliseconds.
MARKS_A_STEP = 4096


@dataclass(frozen=True)
class Unmarked:
    """A line without marks.

    Args:
        text: the line without them.
        line: the line as it was.
        removed: where the marks were in it.
    """

    text: str
    line: str
    removed: Sequence[int]

    def without_marks(self, ranges: Sequence[Range]) -> list[Range]:
        """Returns where ranges of the line are in its text."""
        return [
            (start - bisect_left(self.removed, start), end - bisect_left(self.removed, end)) for start, end in ranges
        ]

    def restoring(self, spans: Sequence[ProtectedSpan]) -> Generator[None, None, tuple[str, list[ProtectedSpan]]]:
        """Returns the text with spans that never change as they were in the line, and all spans in it."""
        # By mark, the first place in the text that is after it.
        after = [place - count for count, place in enumerate(self.removed)]
        pieces: list[str] = []
        found: list[ProtectedSpan] = []
        start = added = 0
        for count, span in enumerate(spans, 1):
            written = span.text
            if is_exact(span):
                first, last = span.start, span.end - 1
                written = self.line[first + bisect_right(after, first) : last + bisect_right(after, last) + 1]
            begin = span.start + added
            found.append(ProtectedSpan(begin, begin + len(written), span.kind, written))
            pieces += [self.text[start : span.start], written]
            added += len(written) - len(span.text)
            start = span.end
            if count % MARKS_A_STEP == 0:
                yield
        return "".join([*pieces, self.text[start:]]), found


def unmarking(line: str, ranges: Sequence[Range]) -> Generator[None, None, Unmarked | None]:
    """Takes the marks out of a line, except in ranges, which are in reading order. Returns None if there are none."""
    if line.isascii() or not MARKS.search(line):
        return None
    starts = [start for start, _ in ranges]
    pieces: list[str] = []
    removed: list[int] = []
    start = 0
    for count, match in enumerate(MARKS.finditer(line), 1):
        first, end = match.span()
        index = bisect_right(starts, first) - 1
        if index < 0 or first >= ranges[index][1]:
            pieces.append(line[start:first])
            removed += range(first, end)
            start = end
        if count % MARKS_A_STEP == 0:
            yield
    return Unmarked("".join([*pieces, line[start:]]), line, removed)
