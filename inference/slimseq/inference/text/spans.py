"""Finds the spans of a text that a translation must not change: numbers, dates, URLs, code, tags and their like.

`span_rules` has the expressions. The search is linear in the length of the text. A long text is searched in windows.
`slimseq.inference.text.localization` says how a span reads in the target language.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from slimseq.inference.text.notation import find_notation
from slimseq.inference.text.numbers import typed, with_plain_spaces
from slimseq.inference.text.span_rules import (
    CODE_SPAN,
    EMAIL,
    KINDS,
    PATTERNS,
    SIGNS,
    SIGNS_BEYOND_ASCII,
    TAG,
    SpanKind,
)

Range = tuple[int, int]

# Characters that are searched for spans at once, which holds the interpreter lock: a few milliseconds.
WINDOW_CHARACTERS = 2000
# Characters whose words are looked for at once. A search of a million spaces, or a list of as many words that is freed,
# would hold the interpreter lock.
WORD_WINDOW_CHARACTERS = 10_000
# Limit of the punctuation characters that are taken off a URL's end. More of them are part of the URL.
MAX_FINAL_PUNCTUATION = 1000


class ProtectedSpan(NamedTuple):
    """A span of a text, from `start` to `end`. For a term, `target` is what stands for the term in the translation."""

    start: int
    end: int
    kind: SpanKind
    text: str
    target: str = ""

    def moved(self, offset: int) -> "ProtectedSpan":
        return self._replace(start=self.start + offset, end=self.end + offset)


def overlaps(place: Range, others: Sequence[Range]) -> bool:
    return any(start < place[1] and place[0] < end for start, end in others)


def replaced(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """Returns a text with changes, each a start, an end and the words that go there. Changes are in reading order."""
    pieces, position = [], 0
    for start, end, words in changes:
        pieces += [text[position:start], words]
        position = end
    return "".join([*pieces, text[position:]])


# Spans that no window may divide, and where one of them may begin.
_INDIVISIBLE = re.compile(f"{CODE_SPAN}|{TAG}|{EMAIL}")
_OPENING = re.compile(r"[`<]|(?<![\w.+%-])[\w.%+-]++(?=@|\Z)")
_LETTER = re.compile(r"[^\W\d_]")
_REST_OF_URL = re.compile(r"[^\s<>\"`]*+")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
# Punctuation at the end of a URL that may belong to the sentence around it.
_FINAL_PUNCTUATION = ".,;:!?'\u2019\u201d\u201c*_" + "".join(_BRACKETS)


def windows(text: str) -> Iterator[Range]:
    """Yields ranges of a text that are searched at once.

    They end at spaces, unless there are none. Code, tags and e-mail addresses are in one window, which may be longer.
    """
    start = 0
    while start < len(text):
        end = start + WINDOW_CHARACTERS
        if end < len(text):
            space = text.rfind(" ", start + WINDOW_CHARACTERS // 2, end)
            if space >= 0:
                end = space
            across = _indivisible_across(text, start, end)
            if across is not None:
                # The window ends before what it would divide, or after it if nothing else is in the window.
                across_start, across_end = across
                end = across_start if across_start > start else across_end
        yield start, min(end, len(text))
        start = end


def window_end(text: str, start: int) -> int:
    """Returns where a window of words ends: after a space, unless there is none."""
    end = start + WORD_WINDOW_CHARACTERS
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", start, end)
    return end if space < 0 else space + 1


def _indivisible_across(text: str, start: int, end: int) -> Range | None:
    """Returns the code, tag or e-mail address that begins in a window and goes on after it."""
    opening = _OPENING.search(text, start, end)
    while opening is not None:
        match = _INDIVISIBLE.match(text, opening.start())
        if match is not None and match.end() > end:
            return match.span()
        next_start = match.end() if match is not None else opening.end()
        opening = _OPENING.search(text, next_start, end)
    return None


def find_spans(text: str, language: str, window: Range | None = None) -> list[ProtectedSpan]:
    """Returns the spans of a window of a text, in reading order. They do not overlap. A URL may end after the window.

    Names of months, and words such as "million", are found in English texts only.
    """
    offset, end = window or (0, len(text))
    notation = find_notation(language)
    is_spaced = notation is not None and notation.is_spaced
    # Only a copy of the window is searched: what is outside, such as the rest of a long number, must not hide what is
    # within. The copy has the length of the window: a place in the copy plus the offset is the place in the text.
    searched = with_plain_spaces(typed(text[offset:end], is_spaced=is_spaced))
    is_ascii = searched.isascii()
    if not SIGNS.search(searched) and (is_ascii or not SIGNS_BEYOND_ASCII.search(searched)):
        return []
    pattern = PATTERNS[language == "en", is_ascii]
    found: list[ProtectedSpan] = []
    position = 0
    # Each group has the name of its kind.
    while (match := pattern.search(searched, position)) is not None and match.lastgroup is not None:
        kind = KINDS[match.lastgroup]
        start, stop = offset + match.start(), offset + match.end()
        if kind is SpanKind.URL:
            # A URL may go on after the window.
            rest = _REST_OF_URL.match(text, end) if match.end() == len(searched) else None
            stop = _without_punctuation(text, start, rest.end() if rest else stop)
        found.append(ProtectedSpan(start, stop, kind, text[start:stop]))
        position = max(stop - offset, match.start() + 1)
    return found


def with_ranges(text: str, spans: Sequence[ProtectedSpan], ranges: Sequence[Range]) -> list[ProtectedSpan]:
    """Adds ranges that are kept whatever they look like. Spans that overlap with a kept range are dropped."""
    kept = [ProtectedSpan(start, end, SpanKind.KEPT, text[start:end]) for start, end in sorted(ranges) if start < end]
    found: list[ProtectedSpan] = []
    # In reading order, kept ranges before spans that start at the same place.
    for span in sorted([*kept, *spans], key=lambda each: (each.start, each.kind is not SpanKind.KEPT)):
        if span.kind is SpanKind.KEPT:
            while found and found[-1].kind is not SpanKind.KEPT and found[-1].end > span.start:
                found.pop()
        if not found or found[-1].end <= span.start:
            found.append(span)
    return found


def without_gaps(spans: Sequence[ProtectedSpan]) -> list[ProtectedSpan]:
    """Joins spans of the same kind with nothing between them, such as the windows of one long number."""
    found: list[ProtectedSpan] = []
    for span in spans:
        if found and found[-1].end == span.start and found[-1].kind is span.kind:
            before = found.pop()
            found.append(before._replace(end=span.end, text=before.text + span.text))
        else:
            found.append(span)
    return found


def has_unprotected_words(text: str, spans: Sequence[ProtectedSpan]) -> bool:
    """Whether a text has a letter outside of its spans, so that there is something to translate."""
    if not spans:
        return _LETTER.search(text) is not None
    ends = [0, *(span.end for span in spans)]
    starts = [*(span.start for span in spans), len(text)]
    return any(_LETTER.search(text, start, end) for start, end in zip(ends, starts, strict=True))


def _without_punctuation(text: str, start: int, end: int) -> int:
    """Returns where a URL ends: before the punctuation of its sentence, and after a bracket that it opens itself."""
    # For each closing bracket, by how many the URL has more closing than opening ones.
    surplus = {
        closing: text.count(closing, start, end) - text.count(opening, start, end)
        for closing, opening in _BRACKETS.items()
    }
    lowest = max(start, end - MAX_FINAL_PUNCTUATION)
    while end > lowest and text[end - 1] in _FINAL_PUNCTUATION:
        closing = text[end - 1]
        if closing in _BRACKETS:
            if surplus[closing] <= 0:
                break
            surplus[closing] -= 1
        end -= 1
    return end
