"""Puts the tags of a sentence around the words of its translation that they belonged to.

The words of an element are found in the translation where they are the same (names, numbers), or where the translation
of these words alone is similar; else they are taken to be in the same place as in the source. Each tag and each atom
comes back once, within the elements that it was in. `passages` decides which tags belong to a sentence.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rapidfuzz import fuzz

from slimseq.inference.text.spans import Range, SpanKind, find_spans

# A piece of markup: source of HTML, or a token of Markdown.
Piece = TypeVar("Piece")

# Characters for private use, each of which represents code or an image in a text.
ATOMS = "".join(map(chr, range(0xE000, 0xE010)))
# An atom, or a word without the punctuation around it.
WORD = re.compile(rf"[{ATOMS}]|\w+(?:[-'\u2019.,]\w+)*")
_ATOM = re.compile(f"[{ATOMS}]")
# Each is one word: a tag within it would break it.
_WHOLE = frozenset({SpanKind.CODE, SpanKind.URL, SpanKind.EMAIL})
_SENTENCE_END = re.compile(r"[.!?…]['\"\u2019\u201d)\]]*\s")
_PUNCTUATION_AT_END = re.compile(r"[.,:;!?…]+$")
_NO_ATOMS = dict.fromkeys(map(ord, ATOMS))
# Similarity, up to 100, of the same word in two forms, such as "Deutschland" and "Deutschlands": decision 16.
MIN_SIMILARITY = 75.0
# Shorter words are similar by chance, so they must be equal.
MIN_SIMILAR_CHARACTERS = 4
# Similarity that a place loses if it is at the other end of the text, and for each atom of the element outside of it.
DISTANCE_PENALTY, OUTSIDE_PENALTY = 25.0, 30.0


@dataclass
class Span(Generic[Piece]):
    """An inline element: its tags, the part of the text between them, and the elements in it.

    An atom is one character of the text, and `opening` is its markup. A break is written in place of a space.
    """

    opening: Sequence[Piece]
    closing: Sequence[Piece]
    start: int
    end: int
    spans: list["Span[Piece]"] = field(default_factory=list)
    is_atom: bool = False
    is_break: bool = False

    def walk(self) -> Iterator["Span[Piece]"]:
        yield self
        for span in self.spans:
            yield from span.walk()


def atoms_of(text: str) -> list[Range]:
    return [match.span() for match in _ATOM.finditer(text)]


def without_atoms(text: str) -> str:
    """Returns a text without the characters that represent atoms."""
    return text.translate(_NO_ATOMS)


def find_words(text: str) -> list[Range]:
    """Returns where the words of a text are. Code, a URL or an e-mail address is one word."""
    words: list[Range] = []
    start = 0
    for span in find_spans(text, ""):
        if span.kind in _WHOLE:
            words += [match.span() for match in WORD.finditer(text, start, span.start)]
            words.append((span.start, span.end))
            start = span.end
    return words + [match.span() for match in WORD.finditer(text, start)]


class TagRestorer(Generic[Piece]):
    """Restores the tags of one text in its translation.

    `alone` has the translations of the words of elements alone, by the `id` of the element.
    """

    def __init__(
        self, text: str, translation: str, alone: Mapping[int, str], write_text: Callable[[str], Piece]
    ) -> None:
        self._text = text
        self._translation = translation
        # A few characters have lower forms of another length.
        lowered = translation.lower()
        self._lowered = lowered if len(lowered) == len(translation) else translation
        self._words = find_words(translation)
        self._alone = alone
        self._write_text = write_text
        # Sentences are translated one by one, so that an element stays in its own.
        self._ends, self._translated_ends = (
            [match.start() for match in _SENTENCE_END.finditer(each)] for each in (text, translation)
        )

    def restore(self, spans: Sequence[Span[Piece]], source: Range, target: Range) -> Iterator[Piece]:
        """Yields a part of the translation, with the elements that are in the corresponding part of the text."""
        position, end = target
        for (start, stop), span in sorted(self._places(spans, source, target), key=lambda placed: placed[0]):
            before = self._translation[position:start]
            yield self._write(before.rstrip(" ") if span.is_break else before)
            is_lost = span.is_atom and start == stop
            if is_lost and self._translation[target[0] : start][-1:].strip():
                yield self._write_text(" ")
            yield from span.opening
            if is_lost and self._translation[stop:end][:1].strip():
                yield self._write_text(" ")
            if not span.is_atom:
                yield from self.restore(span.spans, (span.start, span.end), (start, stop))
                yield from span.closing
            position = stop
        yield self._write(self._translation[position:end])

    def _write(self, text: str) -> Piece:
        return self._write_text(without_atoms(text))

    def _places(
        self, spans: Sequence[Span[Piece]], source: Range, target: Range
    ) -> Iterator[tuple[Range, Span[Piece]]]:
        """Yields where each element goes. Places do not overlap: what is found goes first."""
        words = [word for word in self._words if target[0] <= word[0] and word[1] <= target[1]]
        taken: list[Range] = []
        missing: list[Span[Piece]] = []
        for span in sorted(spans, key=lambda span: not span.is_atom):
            place: Range | None
            if span.is_atom:
                start = self._translation.find(self._text[span.start], *target)
                place = (start, start + 1) if start >= 0 else None
            elif (span.start, span.end) == source and not taken:
                place = target
            else:
                place = self._place_by_words(span, source, words, taken)
            if place is None:
                missing.append(span)
            else:
                taken.append(place)
                yield place, span
        for span in missing:
            taken.append(self._place_by_position(span, source, target, words, taken))
            yield taken[-1], span

    def _place_by_words(
        self, span: Span[Piece], source: Range, words: Sequence[Range], taken: Sequence[Range]
    ) -> Range | None:
        """Returns the words of the translation that are most similar to those of an element; None if none are."""
        if span.start == span.end:
            return None
        middle = (span.start + span.end - 2 * source[0]) / 2 / (source[1] - source[0])
        best, found = 0.0, None
        # The same words, or the translation of the words alone with a word more or less.
        for wanted, slack in ((self._text[span.start : span.end], 0), (self._alone.get(id(span), ""), 1)):
            own = find_words(wanted)
            if not own:
                continue
            wanted = wanted[own[0][0] : own[-1][1]].lower()
            cutoff = MIN_SIMILARITY if slack and len(wanted) >= MIN_SIMILAR_CHARACTERS else 100.0
            for size in range(max(1, len(own) - slack), len(own) + slack + 1):
                for first, place in _free_places(words, size, taken):
                    score = fuzz.ratio(wanted, self._lowered[slice(*place)], score_cutoff=cutoff)
                    score -= DISTANCE_PENALTY * abs((first + size / 2) / len(words) - middle)
                    # Where it is not the best, the rest need not be computed.
                    if score <= best or (score := score - OUTSIDE_PENALTY * self._atoms_outside(span, place)) <= best:
                        continue
                    if self._is_in_sentence(span, place):
                        best, found = score, place
        return found and self._with_punctuation(span, found)

    def _place_by_position(
        self, span: Span[Piece], source: Range, target: Range, words: Sequence[Range], taken: Sequence[Range]
    ) -> Range:
        """Returns as many words of the translation, where they were in the text; none if all are taken."""
        before = len(WORD.findall(self._text, source[0], span.start))
        count = 0 if span.is_atom else len(WORD.findall(self._text, span.start, span.end))
        total = max(1, len(WORD.findall(self._text, *source)))
        expected = min(round(before * len(words) / total), len(words))
        most = min(max(1, round(count * len(words) / total)), len(words)) if count else 0
        for size in range(most, 0, -1):
            costs = (
                (not self._is_in_sentence(span, place), self._atoms_outside(span, place), abs(first - expected), place)
                for first, place in _free_places(words, size, taken)
            )
            if best := min(costs, default=None):
                return self._with_punctuation(span, best[-1])
        edges = [target[0], *(start for start, _ in words), target[1]] if span.end < source[1] else [target[1]]
        # Between words, as in the source, and not where another one is.
        used = {start for start, stop in taken if start == stop}
        if source[0] < span.start and span.end < source[1]:
            used |= {*target}
        wanted = words[expected][0] if expected < len(words) else target[1]
        free = [edge for edge in edges if not any(start < edge < stop for start, stop in taken)]
        edge = min(free, key=lambda edge: (edge in used, abs(edge - wanted)))
        return edge, edge

    def _is_in_sentence(self, span: Span[Piece], place: Range) -> bool:
        """Whether a place is in the sentence of an element, and crosses none that the element does not cross."""
        first, last = bisect_left(self._ends, span.start), bisect_left(self._ends, span.end)
        begin, end = (bisect_left(self._translated_ends, edge) for edge in place)
        is_same = len(self._ends) != len(self._translated_ends) or begin == first
        return is_same and end - begin <= last - first

    def _atoms_outside(self, span: Span[Piece], place: Range) -> int:
        """Returns how many atoms of an element are in the translation, but not in a place."""
        found = (self._translation.find(self._text[each.start]) for each in span.walk() if each.is_atom)
        return sum(position >= 0 and not place[0] <= position < place[1] for position in found)

    def _with_punctuation(self, span: Span[Piece], place: Range) -> Range:
        """Takes in the punctuation after a place, where the element ends with the same."""
        ending = _PUNCTUATION_AT_END.search(self._text, span.start, span.end)
        start, stop = place
        if ending and self._translation.startswith(ending[0], stop):
            stop += len(ending[0])
        return start, stop


def _free_places(words: Sequence[Range], size: int, taken: Sequence[Range]) -> Iterator[tuple[int, Range]]:
    """Yields the index of the first of so many words in a row, and where they are, unless an element is there."""
    for first in range(len(words) - size + 1):
        place = words[first][0], words[first + size - 1][1]
        if not any(place[0] < stop and start < place[1] for start, stop in taken):
            yield first, place
