"""Splits a text into segments for the model, and joins their outputs with the original spacing.

A translation model gets one sentence at a time, as `sentencex` finds them. Line breaks, blank lines and indentation are
kept exactly. A summarization model gets the whole text as one segment. No sentence ends within a protected span.

Marks without width, such as soft hyphens, are taken out of a line that is protected: models do not know them, and they
hide numbers. Spans that never change, such as URLs and code, get their marks back before the line is split.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sentencex

from slimseq.inference.text.abbreviations import ends_no_sentence
from slimseq.inference.text.glossary import Glossary, find_terms, with_terms
from slimseq.inference.text.localization import is_exact, render_all
from slimseq.inference.text.names import NameFinder, join_neighbours, no_names, with_names, with_unwritable_terms
from slimseq.inference.text.numbers import WITHOUT_WIDTH, find_marks
from slimseq.inference.text.spans import WINDOW_CHARACTERS as SEARCHED_CHARACTERS
from slimseq.inference.text.spans import (
    ProtectedSpan,
    Range,
    find_spans,
    has_unprotected_words,
    replaced,
    windows,
    with_ranges,
    without_gaps,
)

# Characters of one call of sentencex, which holds the interpreter lock: less than 10 ms.
WINDOW_CHARACTERS = 100_000
# sentencex searches the rest of its text for the end of each quotation and bracket, and for a word after each end of a
# sentence. That takes at most 7 ns for each mark and each character after the mark. A window is therefore shortened
# until its marks times its characters are no more than `MAX_COMPARISONS`.
MARKS_OF_SENTENCES = "\"'`´“”„‟‘’‚‛«»‹›「」『』《》〈〉()[]{}（）【】.!?…"  # noqa: RUF001
MAX_COMPARISONS = 4_000_000
# Called now and then while a long text is prepared. It raises where the work is to end.
Check = Callable[[], None]

# What is between two sentences of a line.
JOINT = " "
# More protected spans in a row, such as a list of numbers, are several segments.
MAX_SPANS = 16
# The line ends of `str.splitlines`, which would build all lines at once.
_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
# Characters around the text of a line, which are kept: white space, byte order marks, and other marks without width
# that models do not know. All white space of Unicode is below U+3001.
_AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + WITHOUT_WIDTH
_LINE = re.compile(f"[^{_BREAKS}]*+(?:\r\n|[{_BREAKS}])|[^{_BREAKS}]+")


def unchecked() -> None:
    """The check of work that always runs to its end."""


class Segment(NamedTuple):
    """A segment of a text, and the characters before it: a space, or line breaks and indentation.

    `spans` are protected. `elements` are the places of inline elements. Places count from the segment's start.
    """

    before: str
    text: str
    spans: tuple[ProtectedSpan, ...] = ()
    elements: tuple[Range, ...] = ()

    def lead(self, output: str) -> str:
        """Returns the characters before the segment's output: no space before an empty output."""
        return "" if self.before == JOINT and not output else self.before


class SegmentedText(NamedTuple):
    """The segments of a text in reading order, and the characters after the last one."""

    segments: Sequence[Segment]
    after: str

    def join(self, outputs: Sequence[str]) -> str:
        """Returns the text with an output in place of each segment."""
        joined = [segment.lead(output) + output for segment, output in zip(self.segments, outputs, strict=True)]
        return "".join(joined) + self.after


def whole(text: str) -> SegmentedText:
    """Returns a text as one segment, or without segments if it is blank."""
    return SegmentedText([Segment("", text)], "") if text.strip() else SegmentedText([], text)


def without_wordless(text: SegmentedText, source: str, target: str, *, is_protected: bool) -> SegmentedText:
    """Adds segments without words, such as numbers, to what is between the others: no model reads them."""
    segments: list[Segment] = []
    pending: list[str] = []
    for segment in text.segments:
        if (segment.spans or is_protected) and not has_unprotected_words(segment.text, segment.spans):
            pending += [segment.before, render_all(segment.text, segment.spans, source, target)]
            continue
        if pending:
            segment = segment._replace(before="".join([*pending, segment.before]))
        segments.append(segment)
        pending = []
    return SegmentedText(segments, "".join([*pending, text.after]))


def split_sentences(
    text: str,
    language: str,
    *,
    is_protected: bool = False,
    ranges: Sequence[Range] = (),
    glossaries: Sequence[Glossary] = (),
    find_names: NameFinder = no_names,
    check: Callable[[int], None] = lambda count: None,
) -> SegmentedText:
    """Splits a text into sentences, and finds the spans in them that a translation must not change.

    `ranges`, in reading order, are protected whatever they look like. The terms of `glossaries` are found in what
    the model reads. `find_names` finds what the model cannot write. `check` is called with the number of sentences so
    far, for each line and each sentence. It may raise.
    """
    found: list[Segment] = []
    # The characters since the last segment.
    pending: list[str] = []
    line_start = 0
    # The index of the first range that does not end before this line.
    next_range = 0
    for match in _LINE.finditer(text):
        line = match[0]
        check(len(found))
        content = line.strip(_AROUND)
        if not content:
            pending.append(line)
            line_start += len(line)
            continue
        indentation = line.index(content[0])
        pending.append(line[:indentation])
        start = line_start + indentation
        end = start + len(content)
        own_ranges, next_range = _ranges_within(ranges, next_range, start, end)
        if is_protected:
            read, spans = _find_protected(content, language, own_ranges, find_names)
        else:
            read, spans = content, with_ranges(content, [], own_ranges)
        if glossaries:
            spans = with_terms(spans, find_terms(read, glossaries, language))
            spans = with_unwritable_terms(spans, find_names)
        spans = join_neighbours(read, spans)

        for segment in _sentences(read, language, spans):
            if pending:
                # The first sentence of the line.
                segment = segment._replace(before="".join(pending))
            found.append(segment)
            pending = []
            check(len(found))
        pending = [line[indentation + len(content) :]]
        line_start += len(line)
    return SegmentedText(found, "".join(pending))


def _ranges_within(ranges: Sequence[Range], index: int, start: int, end: int) -> tuple[list[Range], int]:
    """Returns the ranges from an index on that are in the content of a line, which has this start and end.

    Places count from the start of the content. Also returns the index of the first range that goes on after the line.
    """
    found: list[Range] = []
    while index < len(ranges) and ranges[index][0] < end:
        first, last = ranges[index]
        found.append((max(first, start) - start, min(last, end) - start))
        if last > end:
            break
        index += 1
    return found, index


def _find_protected(
    content: str, language: str, ranges: Sequence[Range], find_names: NameFinder
) -> tuple[str, list[ProtectedSpan]]:
    """Returns a line as the model reads it, and what is protected in it."""
    plain = remove_marks(content, ranges)
    read = plain.text if plain else content
    spans: list[ProtectedSpan] = []
    places = [(0, len(read))] if len(read) <= SEARCHED_CHARACTERS else windows(read)
    for first, last in places:
        if spans:
            # A URL may have ended after its window.
            first = min(max(first, spans[-1].end), last)
        spans += find_spans(read, language, (first, last))
    spans = with_names(without_gaps(spans), find_names(read))
    if ranges:
        spans = with_ranges(read, spans, plain.without_marks(ranges) if plain else ranges)
    return plain.restore(spans) if plain else (read, spans)


def _sentences(content: str, language: str, spans: Sequence[ProtectedSpan]) -> Iterator[Segment]:
    """Yields the sentences of a line as segments. No sentence ends in a span or at an abbreviation."""
    start, end = 0, 0
    next_span = 0
    # The spans of this sentence.
    own: list[ProtectedSpan] = []
    # Where the last span of the sentence before ended, -1 if that sentence had none.
    last_end = -1
    for sentence in segments(content, language):
        end += len(sentence)
        while next_span < len(spans) and spans[next_span].start < end:
            own.append(spans[next_span])
            next_span += 1
        is_abbreviation = ends_no_sentence(content, start, end, language)
        if not sentence or is_abbreviation or (own and own[-1].end > end):
            # The sentence goes on after what looked like its end, as a span may.
            continue
        # A sentence beside a span, such as a tag, has a space before it only if the text has one.
        is_beside_span = start == last_end or (bool(own) and start == own[0].start)
        has_no_space = start > 0 and not content[start - 1].isspace()
        before = "" if is_beside_span and has_no_space else JOINT
        # Usually this is one segment. A sentence with many spans is several.
        for first in range(0, max(len(own), 1), MAX_SPANS):
            after_last = first + MAX_SPANS
            stop = own[after_last].start if after_last < len(own) else end
            segment = _stripped(content, start, stop, before, own[first:after_last])
            if segment is not None:
                yield segment
            start = stop
            before = JOINT if content[stop - 1].isspace() else ""
        last_end = own[-1].end if own else -1
        start = end
        own = []


def _stripped(content: str, start: int, end: int, before: str, spans: Sequence[ProtectedSpan]) -> Segment | None:
    """Returns a range of a line as a segment without spaces around it. Returns None if it has nothing but spaces."""
    text = content[start:end]
    stripped = text.strip()
    if not stripped:
        return None
    offset = start + text.index(stripped[0])
    return Segment(before, stripped, tuple(span.moved(-offset) for span in spans))


@dataclass(frozen=True)
class Unmarked:
    """The text of a line without marks. `removed` has the places of the marks in the line, in reading order."""

    text: str
    line: str
    removed: Sequence[int]

    def without_marks(self, ranges: Sequence[Range]) -> list[Range]:
        """Returns where ranges of the line are in its text."""
        return [
            (start - bisect_left(self.removed, start), end - bisect_left(self.removed, end)) for start, end in ranges
        ]

    def restore(self, spans: Sequence[ProtectedSpan]) -> tuple[str, list[ProtectedSpan]]:
        """Returns the text with the marks of spans that never change, and all spans of that text."""
        # For each mark, the first place in the text that is after the mark. A search in this array counts the marks
        # before a place of the text: the place in the line is so many characters further.
        after = array("q", (place - count for count, place in enumerate(self.removed)))
        changes: list[tuple[int, int, str]] = []
        found: list[ProtectedSpan] = []
        # By how many characters the text is longer so far.
        added = 0
        for span in spans:
            written = span.text
            if is_exact(span):
                first, last = span.start, span.end - 1
                written = self.line[first + bisect_right(after, first) : last + bisect_right(after, last) + 1]
            begin = span.start + added
            found.append(ProtectedSpan(begin, begin + len(written), span.kind, written))
            changes.append((span.start, span.end, written))
            added += len(written) - len(span.text)
        return replaced(self.text, changes), found


def remove_marks(line: str, ranges: Sequence[Range]) -> Unmarked | None:
    """Takes the marks out of a line, except in ranges, which are in reading order. Returns None if there are none."""
    if next(find_marks(line), None) is None:
        return None
    starts = [start for start, _ in ranges]
    # An array, not a list: to free a list of a million numbers would hold the interpreter.
    removed = array("q")
    pieces: list[str] = []
    end = 0
    for mark_start, mark_end in find_marks(line):
        # The last range that begins before the mark.
        index = bisect_right(starts, mark_start) - 1
        is_in_range = index >= 0 and mark_start < ranges[index][1]
        if not is_in_range:
            removed.extend(range(mark_start, mark_end))
            pieces.append(line[end:mark_start])
            end = mark_end
    return Unmarked("".join([*pieces, line[end:]]), line, removed)


def sentences(text: str) -> list[str]:
    """Returns the sentences of an English text, stripped, without empty ones. A blank line ends a sentence."""
    return list(filter(None, map(str.strip, segments(text, "en"))))


def segments(text: str, language: str) -> Iterator[str]:
    """Yields the sentences of a text with the spaces around them; their concatenation is the text.

    A long text is segmented in windows. Each begins after the last complete sentence. After a window in which no
    sentence ends, an empty string is yielded, so that a caller can do something else in between.
    """
    pending: list[str] = []
    start = 0
    while start < len(text):
        window = _window(text, start)
        found = [str(sentence) for sentence in sentencex.segment(language, window)]
        is_last = start + len(window) == len(text)
        if not is_last and len(found) == 1:
            # No sentence ends in this window.
            pending.append(window)
            start += len(window)
            yield ""
            continue
        if not is_last:
            # The last sentence may go on in the next window, which begins with it.
            unfinished = found.pop()
            start -= len(unfinished)
        start += len(window)
        for sentence in found:
            yield "".join([*pending, sentence])
            pending = []


def _window(text: str, start: int) -> str:
    """Returns the next window, shorter if it has many marks."""
    window = text[start : start + WINDOW_CHARACTERS]
    # A window has no more marks than characters, so the marks of a short window need not be counted.
    while len(window) ** 2 > MAX_COMPARISONS:
        marks = sum(map(window.count, MARKS_OF_SENTENCES))
        if len(window) * marks <= MAX_COMPARISONS:
            break
        window = window[: len(window) // 2]
    return window
