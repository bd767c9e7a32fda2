"""Puts the tags of a sentence around the words of its translation that they belonged to.

An element goes around the words that `alignment` found to belong to it; else around the same words (names, numbers), or
the one in the same place as in the source. Each tag and each atom comes back once, within the elements that it was in,
and around a word if it had one. `passages` decides which tags belong to a sentence.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.text.spans import Range, SpanKind, find_spans, overlaps

# A piece of markup: source of HTML, or a token of Markdown.
Piece = TypeVar("Piece")
# By the `id` of an element, how much each character of a translation belongs to it: 1 at most.
Found = Mapping[int, NDArray[np.float64]]

# Characters for private use, each of which represents code or an image in a text.
ATOMS = "".join(map(chr, range(0xE000, 0xE010)))
# An atom, or a word without the punctuation around it.
WORD = re.compile(rf"[{ATOMS}]|\w+(?:[-'\u2019.,]\w+)*")
_ATOM = re.compile(f"[{ATOMS}]")
# Each is one word: a tag within it would break it.
_WHOLE = frozenset({SpanKind.CODE, SpanKind.URL, SpanKind.EMAIL})
_PUNCTUATION = ".,:;!?…"
# The least dependence of a word on its element, over that of the word that depends most. The words of a phrase depend
# on those before them too (docs/decisions/033).
MIN_SHARE, MIN_PHRASE_SHARE = 0.6, 0.25
# What an element gains by each of its own atoms, and loses by one of others.
ATOM_GAIN = 1000.0


@dataclass
class Span(Generic[Piece]):
    """An inline element: its tags, the part of the text between them, and the elements in it.

    An atom is one character of the text, and `opening` is its markup. A break stands for a space, which it may hold.
    """

    opening: Sequence[Piece]
    closing: Sequence[Piece]
    start: int
    end: int
    spans: list["Span[Piece]"] = field(default_factory=list)
    is_atom: bool = False
    is_break: bool = False
    space: str = ""

    def walk(self) -> Iterator["Span[Piece]"]:
        yield self
        for span in self.spans:
            yield from span.walk()


def atoms_of(text: str) -> list[Range]:
    """Returns where the atoms of a text are. If it has more of these characters, they are a user's."""
    found = [match.span() for match in islice(_ATOM.finditer(text), len(ATOMS) + 1)]
    return found if len(found) <= len(ATOMS) else []


def without_atoms(text: str) -> str:
    """Returns a text without the characters that represent atoms."""
    # `translate` would hold the interpreter for 50 ms where a text has a million characters.
    for atom in ATOMS:
        text = text.replace(atom, "")
    return text


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
    """Restores the tags of one text in its translation."""

    def __init__(self, text: str, translation: str, found: Found, write_text: Callable[[str], Piece]) -> None:
        self._text = text
        self._translation = translation
        self._words = find_words(translation)
        self._found = found
        self._write_text = write_text

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
                yield self._write_text(span.space)
                yield from span.closing
            position = stop
        yield self._write(self._translation[position:end])

    def _write(self, text: str) -> Piece:
        return self._write_text(without_atoms(text))

    def _places(self, spans: Sequence[Span[Piece]], source: Range, target: Range) -> list[tuple[Range, Span[Piece]]]:
        """Returns where each element goes. Places do not overlap: what is found for certain goes first."""
        words = [word for word in self._words if target[0] <= word[0] and word[1] <= target[1]]
        placed: list[tuple[Range, Span[Piece]]] = []
        missing, left = [], []
        for span in spans:
            content = self._text[span.start : span.end]
            start = self._translation.find(content, *target) if content else -1
            place = start, start + len(content)
            if (span.start, span.end) == source and not span.is_atom and not placed:
                placed.append((target, span))
            elif WORD.search(content) and not span.is_atom:
                missing.append((self._gains(span, source, target, words), span))
            elif start >= 0 and (span.is_atom or not overlaps(place, [*words, *dict(placed)])):
                placed.append((place, span))
            else:
                left.append(span)
        while missing:
            # By word, which of the elements in place has it.
            places = list(enumerate(placed))
            owners = [next((index for index, (place, _) in places if overlaps(word, [place])), None) for word in words]
            runs = [
                best_run([gain if owner is None else -math.inf for gain, owner in zip(gains, owners, strict=True)])
                for gains, _ in missing
            ]
            index = runs.index(max(runs))
            gains, span = missing.pop(index)
            total, first, last = runs[index]
            shared = [(gain, owner) for gain, owner in zip(gains, owners, strict=True) if owner is not None]
            shared = [each for each in shared if len(range(*placed[each[1]][0])) > 1]
            if total > -math.inf:
                placed.append((self._with_punctuation(span, (words[first][0], words[last][1])), span))
            elif shared:
                # All words are taken. It gets the last word of the element with the best one, or half of its only word.
                _, owner = max(shared)
                (start, end), host = placed[owner]
                *others, last_word = (word for word in words if overlaps(word, [(start, end)]))
                cut = (others[-1][1], last_word[0]) if others else ((start + end) // 2,) * 2
                placed[owner] = (start, cut[0]), host
                placed.append(((cut[1], end), span))
            else:
                left.append(span)
        for span in left:
            placed.append((self._edge(span, source, target, words, [place for place, _ in placed]), span))
        return placed

    def _gains(self, span: Span[Piece], source: Range, target: Range, words: Sequence[Range]) -> list[float]:
        """Returns what an element gains by each word: positive where the word belongs to it."""
        content = self._text[span.start : span.end]
        found = self._found.get(id(span))
        largest = 0.0 if found is None else max((found[slice(*word)].max() for word in self._words), default=0.0)
        if found is not None and largest > 0:
            least = MIN_SHARE if len(WORD.findall(content)) == 1 else MIN_PHRASE_SHARE
            gains = [float(found[slice(*word)].max() / largest - least) for word in words]
        elif (start := self._translation.find(content, *target)) >= 0:
            gains = [1.0 if overlaps(word, [(start, start + len(content))]) else -1.0 for word in words]
        else:
            position = (span.start - source[0]) / max(1, source[1] - source[0])
            gains = [-abs(place / len(words) - position) for place in range(len(words))]
        atoms = {self._text[each.start]: ATOM_GAIN for each in span.walk() if each.is_atom}
        signs = [self._translation[slice(*word)] for word in words]
        return [atoms.get(sign, -ATOM_GAIN) if sign in ATOMS else gain for sign, gain in zip(signs, gains, strict=True)]

    def _edge(
        self, span: Span[Piece], source: Range, target: Range, words: Sequence[Range], taken: Sequence[Range]
    ) -> Range:
        """Returns a place between words, as in the source, and not where another one is."""
        edges = [target[0], *(start for start, _ in words), target[1]] if span.end < source[1] else [target[1]]
        used = {start for start, stop in taken if start == stop}
        if source[0] < span.start and span.end < source[1]:
            used |= {*target}
        wanted = target[0] + (span.start - source[0]) * (target[1] - target[0]) / max(1, source[1] - source[0])
        free = [edge for edge in edges if not any(start < edge < stop for start, stop in taken)]
        edge = min(free, key=lambda edge: (edge in used, abs(edge - wanted)))
        return edge, edge

    def _with_punctuation(self, span: Span[Piece], place: Range) -> Range:
        """Takes in the punctuation after a place, where the element ends with the same."""
        content = self._text[span.start : span.end]
        ending = content[len(content.rstrip(_PUNCTUATION)) :]
        start, stop = place
        if self._translation.startswith(ending, stop):
            stop += len(ending)
        return start, stop


def best_run(gains: Sequence[float]) -> tuple[float, int, int]:
    """Returns the largest sum of gains in a row, and the first and last of them."""
    best, total, start = (-math.inf, 0, 0), 0.0, 0
    for place, gain in enumerate(gains):
        start, total = (start, total + gain) if total > 0 else (place, gain)
        if total > best[0]:
            best = total, start, place
    return best
