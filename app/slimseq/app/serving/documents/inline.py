"""Passages: sentences with inline tags, and the tags put back around the words of the translation they belonged to.

A model translates a sentence without its tags. An element's words are found in the translation where they are the same
(names, numbers), or where the translation of these words alone is similar; else they are taken to be in the same place
as in the source. Each tag comes back once, and elements stay within those that they were in.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rapidfuzz import fuzz

Range = tuple[int, int]

# Of a text that is translated whole. To put more tags back, or into a longer text, would take too long.
MAX_SPANS = 16
MAX_CHARACTERS = 2000
SPACES = re.compile(r"[ \t\n\f\r]+")
# A word without the punctuation around it.
_WORD = re.compile(r"\w+(?:[-'\u2019.,]\w+)*")
_END_OF_SPAN = re.compile(r"[.,:;!?…]+$")
# Similarity of the same word in two forms, such as "Deutschland" and "Deutschlands". See docs/decisions/016.
SIMILAR = 75.0
# Similar words have the same length, and short ones are similar by chance.
MIN_SIMILAR_CHARACTERS = 4


@dataclass
class Span:
    """An inline element: the part of the text between its tags, the tags, and the elements in it."""

    start: int
    opening: str
    end: int = 0
    closing: str = ""
    spans: list["Span"] = field(default_factory=list)


@dataclass
class Passage:
    """A text with character references resolved, and the inline elements in it."""

    text: str
    spans: list[Span] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """What is to be translated: the text, and the words alone of the elements that have to be found in it."""
        return [self.text, *(self.text[span.start : span.end] for span in _searched(self.spans, 0, len(self.text)))]

    def filled(self, translations: Sequence[str]) -> str:
        """Returns the translation of the text as HTML, with the tags.

        Args:
            translations: of `texts`.
        """
        translation, *alone = translations
        searched = _searched(self.spans, 0, len(self.text))
        hints = {id(span): words for span, words in zip(searched, alone, strict=True)}
        placing = _Placing(self.text, translation, hints)
        return placing.rendered(self.spans, (0, len(self.text)), (0, len(translation)))


@dataclass
class Part:
    """A text between two tags, or an inline tag: as it is written, and with references resolved."""

    written: str
    resolved: str = ""
    is_start: bool = False
    is_end: bool = False


def joined(parts: Sequence[Part]) -> tuple[str, Passage, str] | None:
    """Returns texts and inline tags as one passage, and the spaces around it.

    Returns None where that gains nothing or takes too long: no words are beside an element, as in a menu of links, an
    element is not closed among the parts, or there is too much.
    """
    if not 0 < sum(part.is_start for part in parts) <= MAX_SPANS:
        return None
    if sum(len(part.resolved) for part in parts) > MAX_CHARACTERS:
        return None
    text = ""
    root = Span(0, "")
    opened = [root]
    for part in parts:
        if part.is_start:
            span = Span(len(text), part.written)
            opened[-1].spans.append(span)
            opened.append(span)
        elif part.is_end:
            if len(opened) == 1:
                return None
            span = opened.pop()
            span.closing, span.end = part.written, len(text)
        else:
            words = SPACES.sub(" ", part.resolved)
            text += words[1:] if text.endswith(" ") and words.startswith(" ") else words
    root.end = len(text)
    if len(opened) > 1 or not _is_mixed(root, text):
        return None
    content = text.strip()
    start = text.index(content[0])
    _trim(root.spans, text, start, start + len(content))
    first, last = parts[0].resolved, parts[-1].resolved
    before, after = first[: len(first) - len(first.lstrip())], last[len(last.rstrip()) :]
    return before, Passage(content, root.spans), after


def _is_mixed(span: Span, text: str) -> bool:
    """Whether words are beside an element, in an element or in one of those in it."""
    starts, stops = [each.start for each in span.spans], [each.end for each in span.spans]
    beside = "".join(text[stop:start] for stop, start in zip([span.start, *stops], [*starts, span.end], strict=True))
    is_held = any(_WORD.search(text, each.start, each.end) for each in span.spans)
    return (is_held and has_words(beside)) or any(_is_mixed(each, text) for each in span.spans)


def _trim(spans: Sequence[Span], text: str, start: int, stop: int) -> None:
    """Moves the edges of elements to their words, and counts them from where the passage starts."""
    for span in spans:
        inner = text[span.start : span.end]
        trimmed = inner.strip()
        edge = span.start + (inner.index(trimmed[0]) if trimmed else 0)
        span.start = min(max(edge, start), stop) - start
        span.end = span.start + len(trimmed)
        _trim(span.spans, text, start, stop)


def has_words(text: str) -> bool:
    """Whether a text has anything to translate."""
    return any(map(str.isalpha, text))


def _searched(spans: Sequence[Span], start: int, end: int) -> Iterator[Span]:
    """Yields the elements that hold words, and not all that is between the bounds."""
    for span in spans:
        if span.start < span.end and (span.start, span.end) != (start, end):
            yield span
        yield from _searched(span.spans, span.start, span.end)


class _Placing:
    """The search for the places of the elements of one text."""

    def __init__(self, text: str, translation: str, hints: dict[int, str]) -> None:
        self._text = text
        self._translation = translation
        # A few characters have lower forms of another length.
        lowered = translation.lower()
        self._lowered = lowered if len(lowered) == len(translation) else translation
        self._hints = hints

    def rendered(self, spans: Sequence[Span], source: Range, target: Range) -> str:
        """Returns a part of the translation with the elements that are in that part of the text."""
        pieces = []
        position, end = target
        for (start, stop), span in sorted(self._places(spans, source, target), key=lambda placed: placed[0]):
            pieces += [html.escape(self._translation[position:start], quote=False), span.opening]
            pieces += [self.rendered(span.spans, (span.start, span.end), (start, stop)), span.closing]
            position = stop
        pieces.append(html.escape(self._translation[position:end], quote=False))
        return "".join(pieces)

    def _places(self, spans: Sequence[Span], source: Range, target: Range) -> list[tuple[Range, Span]]:
        """Returns where each element goes. Places do not overlap: what is found goes first."""
        words = [match.span() for match in _WORD.finditer(self._translation, *target)]
        places: dict[int, Range] = {}
        for span in spans:
            if (span.start, span.end) == source:
                places[id(span)] = target
            elif (found := self._found(span, source, words, list(places.values()))) is not None:
                places[id(span)] = found
        for span in spans:
            if id(span) not in places:
                places[id(span)] = self._same_place(span, source, target, words, list(places.values()))
        return [(places[id(span)], span) for span in spans]

    def _found(self, span: Span, source: Range, words: Sequence[Range], taken: Sequence[Range]) -> Range | None:
        """Returns the words of the translation that are most like those of an element, None if none are."""
        if id(span) not in self._hints:
            return None
        middle = (span.start + span.end - 2 * source[0]) / 2 / (source[1] - source[0])
        best, place = 0.0, None
        # The same words, or the translation of the words alone with a word more or less.
        for wanted, more in ((self._text[span.start : span.end], 0), (self._hints[id(span)], 1)):
            matches = list(_WORD.finditer(wanted))
            if not matches:
                continue
            wanted = wanted[matches[0].start() : matches[-1].end()].lower()
            cutoff = SIMILAR if more and len(wanted) >= MIN_SIMILAR_CHARACTERS else 100.0
            for count in range(max(1, len(matches) - more), len(matches) + more + 1):
                for first in range(len(words) - count + 1):
                    start, stop = words[first][0], words[first + count - 1][1]
                    likeness = fuzz.ratio(wanted, self._lowered[start:stop], score_cutoff=cutoff)
                    if not likeness:
                        continue
                    # Of equal words, those in the nearest place.
                    likeness -= 25.0 * abs((first + count / 2) / len(words) - middle)
                    if likeness > best and _is_free((start, stop), taken):
                        best, place = likeness, (start, stop)
        return None if place is None else self._with_punctuation(span, place)

    def _same_place(
        self, span: Span, source: Range, target: Range, words: Sequence[Range], taken: Sequence[Range]
    ) -> Range:
        """Returns as many words of the translation, in the place of those of the text; none where all are taken."""
        before = len(_WORD.findall(self._text, source[0], span.start))
        count = len(_WORD.findall(self._text, span.start, span.end))
        total = max(1, len(_WORD.findall(self._text, *source)))
        first = min(round(before * len(words) / total), len(words))
        wanted = min(max(1, round(count * len(words) / total)), len(words)) if count else 0
        for size in range(wanted, 0, -1):
            starts = sorted(range(len(words) - size + 1), key=lambda start: abs(start - first))
            for start in starts:
                place = words[start][0], words[start + size - 1][1]
                if _is_free(place, taken):
                    return self._with_punctuation(span, place)
        edges = [target[0], *(start for start, _ in words), target[1]] if span.end < source[1] else [target[1]]
        free = [edge for edge in edges if not any(start < edge < stop for start, stop in taken)]
        wanted_edge = words[first][0] if first < len(words) else target[1]
        edge = min(free, key=lambda edge: abs(edge - wanted_edge))
        return edge, edge

    def _with_punctuation(self, span: Span, place: Range) -> Range:
        """Takes in the punctuation after a place, where the element ends with the same."""
        ending = _END_OF_SPAN.search(self._text, span.start, span.end)
        start, stop = place
        if ending and self._translation.startswith(ending[0], stop):
            return start, stop + len(ending[0])
        return place


def _is_free(place: Range, taken: Sequence[Range]) -> bool:
    return not any(place[0] < stop and start < place[1] for start, stop in taken)
