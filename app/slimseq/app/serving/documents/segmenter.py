"""Splits a text into segments for the model, and joins their outputs with the original spacing.

A translation model gets one sentence at a time. Line breaks, blank lines and indentation are kept exactly. A
summarization model gets the whole text as one segment. No sentence ends within a protected span.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from slimseq.app.serving.documents.marks import unmarking
from slimseq.inference.text.protection.spans import (
    ProtectedSpan,
    Range,
    find_spans,
    windows,
    with_ranges,
    without_gaps,
)
from slimseq.inference.text.sentences import segments
from slimseq.inference.text.typography import WITHOUT_WIDTH

Result = TypeVar("Result")

JOINT = " "
# More protected spans in a row, such as a list of numbers, are several segments.
MAX_SPANS = 16
# The line ends of `str.splitlines`, which would build all lines at once.
_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
# What may be around the text of a line: white space, byte order marks, and other marks without width that models do not
# know. It is kept.
_AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + WITHOUT_WIDTH
_LINE = re.compile(f"[^{_BREAKS}]*(?:\r\n|[{_BREAKS}])|[^{_BREAKS}]+")


@dataclass(frozen=True)
class Segment:
    """A segment of a text, and the characters before it: a space, or line breaks and indentation.

    `spans` are those that are protected, counted from the start of the segment.
    """

    before: str
    text: str
    spans: tuple[ProtectedSpan, ...] = ()

    def lead(self, output: str) -> str:
        """Returns the characters before the segment's output: no space before an empty output."""
        return "" if self.before == JOINT and not output else self.before


@dataclass(frozen=True)
class SegmentedText:
    """The segments of a text in reading order, and the characters after the last one."""

    segments: Sequence[Segment]
    after: str

    def join(self, outputs: Sequence[str]) -> str:
        """Returns the text with an output in place of each segment."""
        joined = [segment.lead(output) + output for segment, output in zip(self.segments, outputs, strict=True)]
        return "".join(joined) + self.after


def whole(text: str) -> SegmentedText:
    """Returns a text as one segment."""
    return SegmentedText([Segment("", text)], "")


def splitting(
    text: str, language: str, *, is_protected: bool = False, ranges: Sequence[Range] = ()
) -> Generator[int, None, SegmentedText]:
    """Splits a text into sentences, in small steps.

    Args:
        text: any text.
        language: the code of the text's language, such as `en`.
        is_protected: whether to find the spans that a translation must not change.
        ranges: of the text, that are protected whatever they look like, in reading order.

    Yields:
        The number of sentences so far, after each line and each sentence.

    Returns:
        The sentences, and the characters between them.
    """
    found: list[Segment] = []
    pending: list[str] = []
    line_start, next_range = 0, 0
    for line in _lines(text):
        content = line.strip(_AROUND)
        if not content:
            pending.append(line)
            line_start += len(line)
            yield len(found)
            continue
        start = line.index(content[0])
        pending.append(line[:start])
        begin, end = line_start + start, line_start + start + len(content)
        own: list[Range] = []
        while next_range < len(ranges) and ranges[next_range][0] < end:
            first, last = ranges[next_range]
            own.append((max(first, begin) - begin, min(last, end) - begin))
            if last > end:
                break
            next_range += 1
        plain = None
        if is_protected:
            plain = yield from _counted(unmarking(content, own), len(found))
        read = plain.text if plain else content
        spans: list[ProtectedSpan] = []
        for first, last in windows(read) if is_protected else ():
            # A URL may have ended after its window.
            spans += find_spans(read, language, (min(max(first, spans[-1].end if spans else 0), last), last))
            yield len(found)
        spans = without_gaps(spans)
        if own:
            spans = with_ranges(read, spans, plain.without_marks(own) if plain else own)
        if plain:
            read, spans = yield from _counted(plain.restoring(spans), len(found))
        for segment in _sentences(read, language, spans):
            if segment is not None:
                found.append(replace(segment, before="".join(pending)) if pending else segment)
                pending = []
            yield len(found)
        pending = [line[start + len(content) :]]
        line_start += len(line)
    return SegmentedText(found, "".join(pending))


def _counted(work: Generator[None, None, Result], count: int) -> Generator[int, None, Result]:
    """Runs work, and yields a number after each of its steps."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield count


def _sentences(content: str, language: str, spans: Sequence[ProtectedSpan]) -> Iterator[Segment | None]:
    """Yields the sentences of a line, and None in place of nothing or of a sentence that goes on."""
    start = end = index = 0
    last_end = -1
    own: list[ProtectedSpan] = []
    for sentence in segments(content, language):
        if not sentence:
            yield None
            continue
        end += len(sentence)
        while index < len(spans) and spans[index].start < end:
            own.append(spans[index])
            index += 1
        if own and own[-1].end > end:
            # A span goes on after what looked like the end of a sentence.
            yield None
            continue
        # No space is put beside a tag that has none.
        is_beside_span = start in (last_end, own[0].start if own else -1)
        before = "" if is_beside_span and start and not content[start - 1].isspace() else JOINT
        for first in range(0, max(len(own), 1), MAX_SPANS):
            next_span = first + MAX_SPANS
            stop = own[next_span].start if next_span < len(own) else end
            yield _stripped(content, start, stop, before, own[first:next_span])
            start, before = stop, JOINT if content[stop - 1].isspace() else ""
        last_end = own[-1].end if own else -1
        start, own = end, []


def _stripped(content: str, start: int, end: int, before: str, spans: Sequence[ProtectedSpan]) -> Segment | None:
    text = content[start:end]
    stripped = text.strip()
    if not stripped:
        return None
    offset = start + text.index(stripped[0])
    return Segment(before, stripped, tuple(span.moved(-offset) for span in spans))


def _lines(text: str) -> Iterator[str]:
    """Yields a text's lines with their ends, those of `str.splitlines`."""
    return (match.group() for match in _LINE.finditer(text))
