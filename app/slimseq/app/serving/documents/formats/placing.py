"""Puts the tags of a sentence around the words of its translation that they belonged to.

An element's words are found in the translation where they are the same (names, numbers), or where the translation of
these words alone is similar; else they are taken to be in the same place as in the source. Each tag and each atom comes
back once, within the elements that it was in.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rapidfuzz import fuzz

from slimseq.inference.text.protection.spans import Range, SpanKind, find_spans

# Returns a text as it is written between markup: called with the markup before it, the text, and the markup after it.
Escape = Callable[[str, str, str], str]

# Characters for private use, each of which stands for an atom in a text: code, an image.
ATOMS = "".join(map(chr, range(0xE000, 0xE010)))
# An atom, or a word without the punctuation around it.
WORD = re.compile(rf"[{ATOMS}]|\w+(?:[-'\u2019.,]\w+)*")
_ATOM = re.compile(f"[{ATOMS}]")
# Each is one word: a tag within it would break it.
_WHOLE = frozenset({SpanKind.CODE, SpanKind.URL, SpanKind.EMAIL})
_SENTENCE_END = re.compile(r"[.!?…]['\"\u2019\u201d)\]]*\s")
_END_OF_SPAN = re.compile(r"[.,:;!?…]+$")
_NO_ATOMS = dict.fromkeys(map(ord, ATOMS))
# Similarity of the same word in two forms, such as "Deutschland" and "Deutschlands". See docs/decisions/016.
SIMILAR = 75.0
# Similar words have the same length, and short ones are similar by chance.
MIN_SIMILAR_CHARACTERS = 4
# What a place loses for each atom of an element that is outside of it.
OUTSIDE = 30.0


@dataclass
class Span:
    """An inline element: the part of the text between its tags, the tags, and the elements in it.

    An atom is one character of the text, and `opening` is its markup. A break is written in place of a space.
    """

    start: int
    opening: str
    end: int = 0
    closing: str = ""
    spans: list["Span"] = field(default_factory=list)
    is_atom: bool = False
    is_break: bool = False


def atoms_of(text: str) -> list[Range]:
    """Returns where the atoms of a text are."""
    return [match.span() for match in _ATOM.finditer(text)]


def atoms_in(spans: Sequence[Span]) -> Iterator[Span]:
    """Yields the atoms among elements and in them."""
    for span in spans:
        if span.is_atom:
            yield span
        yield from atoms_in(span.spans)


class Placing:
    """The search for the places of the elements of one text."""

    def __init__(self, text: str, translation: str, hints: dict[int, str], escape: Escape) -> None:
        """Makes a search.

        Args:
            text: the source.
            translation: of the text.
            hints: the translations of the words of elements alone, by the `id` of the element.
            escape: of the markup.
        """
        self._text = text
        self._translation = translation
        # A few characters have lower forms of another length.
        lowered = translation.lower()
        self._lowered = lowered if len(lowered) == len(translation) else translation
        self._words = words_of(translation)
        self._hints = hints
        self._escape = escape
        # Sentences are translated one by one, so that an element stays in its own.
        self._ends, self._translated_ends = (
            [match.start() for match in _SENTENCE_END.finditer(each)] for each in (text, translation)
        )

    def rendered(self, spans: Sequence[Span], source: Range, target: Range) -> str:
        """Returns a part of the translation with the elements that are in that part of the text."""
        pieces: list[str] = []
        position, end = target
        last = ""
        for (start, stop), span in sorted(self._places(spans, source, target), key=lambda placed: placed[0]):
            pieces.append(self._written(last, position, start, span.opening))
            last = span.opening + span.closing
            if span.is_break:
                pieces[-1] = pieces[-1].rstrip(" ")
            if span.is_atom and start == stop:
                # The translation has lost it, and no space for it.
                before, after = self._translation[target[0] : start][-1:], self._translation[stop:end][:1]
                pieces += [" " * (before.strip() != ""), span.opening, " " * (after.strip() != "")]
            else:
                pieces.append(span.opening)
            if not span.is_atom:
                pieces += [self.rendered(span.spans, (span.start, span.end), (start, stop)), span.closing]
            position = stop
        pieces.append(self._written(last, position, end, ""))
        return "".join(pieces)

    def _written(self, before: str, start: int, end: int, after: str) -> str:
        # Atoms that are written elsewhere are left out.
        return self._escape(before, without_atoms(self._translation[start:end]), after)

    def _places(self, spans: Sequence[Span], source: Range, target: Range) -> list[tuple[Range, Span]]:
        """Returns where each element goes. Places do not overlap: what is found goes first."""
        words = [word for word in self._words if target[0] <= word[0] and word[1] <= target[1]]
        places: dict[int, Range] = {}
        for span in spans:
            if span.is_atom and (place := self._translation.find(self._text[span.start], *target)) >= 0:
                places[id(span)] = place, place + 1
        for span in spans:
            if span.is_atom:
                continue
            taken = list(places.values())
            if (span.start, span.end) == source and not taken:
                places[id(span)] = target
            elif (found := self._found(span, source, words, taken)) is not None:
                places[id(span)] = found
        for span in spans:
            if id(span) not in places:
                places[id(span)] = self._same_place(span, source, target, words, list(places.values()))
        return [(places[id(span)], span) for span in spans]

    def _found(self, span: Span, source: Range, words: Sequence[Range], taken: Sequence[Range]) -> Range | None:
        """Returns the words of the translation that are most like those of an element, None if none are."""
        if span.start == span.end:
            return None
        middle = (span.start + span.end - 2 * source[0]) / 2 / (source[1] - source[0])
        best, place = 0.0, None
        atoms = self._atoms_of(span)
        hint = self._hints.get(id(span), "")
        # The same words, or the translation of the words alone with a word more or less.
        for wanted, more in ((self._text[span.start : span.end], 0), (hint, 1)):
            matches = words_of(wanted)
            if not matches:
                continue
            wanted = wanted[matches[0][0] : matches[-1][1]].lower()
            cutoff = SIMILAR if more and len(wanted) >= MIN_SIMILAR_CHARACTERS else 100.0
            for count in range(max(1, len(matches) - more), len(matches) + more + 1):
                for first in range(len(words) - count + 1):
                    start, stop = words[first][0], words[first + count - 1][1]
                    likeness = fuzz.ratio(wanted, self._lowered[start:stop], score_cutoff=cutoff)
                    if not likeness:
                        continue
                    # Of equal words, those in the nearest place.
                    likeness -= 25.0 * abs((first + count / 2) / len(words) - middle)
                    if likeness <= best:
                        continue
                    likeness -= OUTSIDE * _outside(atoms, (start, stop))
                    if likeness > best and _is_free((start, stop), taken) and self._is_in_sentence(span, (start, stop)):
                        best, place = likeness, (start, stop)
        return None if place is None else self._with_punctuation(span, place)

    def _same_place(
        self, span: Span, source: Range, target: Range, words: Sequence[Range], taken: Sequence[Range]
    ) -> Range:
        """Returns as many words of the translation, in the place of those of the text; none where all are taken."""
        before = len(WORD.findall(self._text, source[0], span.start))
        count = 0 if span.is_atom else len(WORD.findall(self._text, span.start, span.end))
        total = max(1, len(WORD.findall(self._text, *source)))
        atoms = self._atoms_of(span)
        first = min(round(before * len(words) / total), len(words))
        wanted = min(max(1, round(count * len(words) / total)), len(words)) if count else 0
        for size in range(wanted, 0, -1):
            starts = sorted(range(len(words) - size + 1), key=lambda start: abs(start - first))
            places = ((words[start][0], words[start + size - 1][1]) for start in starts)
            best, best_cost = None, (True, len(self._text))
            for place in (place for place in places if _is_free(place, taken)):
                cost = not self._is_in_sentence(span, place), _outside(atoms, place)
                if cost < best_cost:
                    best, best_cost = place, cost
                if best_cost == (False, 0):
                    break
            if best is not None:
                return self._with_punctuation(span, best)
        edges = [target[0], *(start for start, _ in words), target[1]] if span.end < source[1] else [target[1]]
        free_edges = [edge for edge in edges if not any(start < edge < stop for start, stop in taken)]
        wanted_edge = words[first][0] if first < len(words) else target[1]
        # Between words, as in the source, and not where another one is.
        used = {start for start, stop in taken if start == stop}
        if source[0] < span.start and span.end < source[1]:
            used |= {*target}
        edge = min(free_edges, key=lambda edge: (edge in used, abs(edge - wanted_edge)))
        return edge, edge

    def _is_in_sentence(self, span: Span, place: Range) -> bool:
        """Whether a place is in the sentence of an element, and crosses none that the element does not cross."""
        first, last = bisect_left(self._ends, span.start), bisect_left(self._ends, span.end)
        begin, end = (bisect_left(self._translated_ends, edge) for edge in place)
        is_same = len(self._ends) != len(self._translated_ends) or begin == first
        return is_same and end - begin <= last - first

    def _atoms_of(self, span: Span) -> list[int]:
        """Returns where the atoms of an element are in the translation."""
        found = (self._translation.find(self._text[atom.start]) for atom in atoms_in(span.spans))
        return [position for position in found if position >= 0]

    def _with_punctuation(self, span: Span, place: Range) -> Range:
        """Takes in the punctuation after a place, where the element ends with the same."""
        ending = _END_OF_SPAN.search(self._text, span.start, span.end)
        start, stop = place
        if ending and self._translation.startswith(ending[0], stop):
            return start, stop + len(ending[0])
        return place


def words_of(text: str) -> list[Range]:
    """Returns where the words of a text are. Code, a URL or an e-mail address is one word."""
    words: list[Range] = []
    start = 0
    for span in find_spans(text, ""):
        if span.kind in _WHOLE:
            words += [match.span() for match in WORD.finditer(text, start, span.start)]
            words.append((span.start, span.end))
            start = span.end
    return words + [match.span() for match in WORD.finditer(text, start)]


def _outside(atoms: Sequence[int], place: Range) -> int:
    """Returns how many atoms are not in a place."""
    return sum(not place[0] <= atom < place[1] for atom in atoms)


def _is_free(place: Range, taken: Sequence[Range]) -> bool:
    return not any(place[0] < stop and start < place[1] for start, stop in taken)


def without_atoms(text: str) -> str:
    """Returns a text without the characters that stand for atoms."""
    return text.translate(_NO_ATOMS)
