"""Puts the tags of a sentence around the right words of its translation.

An inline element goes around the words that `alignment` found to belong to it. If there are none, it goes around the
same words (names, numbers), or else around the word at the same place as in the source. Each tag comes back once,
within the elements that it was in, and around a word if it had one. Each atom comes back once too: code or an image,
for which one character of the text stands. `passages` decides which tags belong to a sentence.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import Range, find_spans, overlaps

# The markup of one tag: source of HTML, or a token of Markdown.
Markup = TypeVar("Markup")
# For each element, by its Python `id`: how much each character of a translation belongs to the element, 1 at most.
ScoresOfElements = Mapping[int, NDArray[np.float64]]

# Characters for private use, each of which represents code or an image in a text.
ATOMS = "".join(map(chr, range(0xE000, 0xE010)))
# An atom, or a word without the punctuation around it.
WORD = re.compile(rf"[{ATOMS}]|\w+(?:[-'\u2019.,]\w+)*")
_ATOM = re.compile(f"[{ATOMS}]")
# A span of these kinds is one word: a tag within it would break it.
_WHOLE = frozenset({SpanKind.CODE, SpanKind.URL, SpanKind.EMAIL})
_PUNCTUATION = ".,:;!?…"
# A word belongs to an element if its score is at least this share of the largest score of a word. The share is lower
# for an element of several words: they depend on each other too (docs/decisions/033).
MIN_SHARE, MIN_PHRASE_SHARE = 0.6, 0.25
# What an element gains by each of its own atoms, and loses by an atom of another element. It outweighs the gains of all
# words, which are 1 each at most.
ATOM_GAIN = 1000.0


@dataclass
class InlineElement(Generic[Markup]):
    """An inline element: its tags, the part of the text between them, and the elements in it.

    An atom is one character of the text, and `opening` is its markup. A break is markup that stands for a space.
    `space` is the white space of an element that has nothing else.
    """

    opening: Sequence[Markup]
    closing: Sequence[Markup]
    start: int
    end: int
    children: list["InlineElement[Markup]"] = field(default_factory=list)
    is_atom: bool = False
    is_break: bool = False
    space: str = ""

    def walk(self) -> Iterator["InlineElement[Markup]"]:
        """Yields the element, and all elements in it, in reading order."""
        yield self
        for child in self.children:
            yield from child.walk()


# Where an element goes in the translation, and the element.
Placed = tuple[Range, InlineElement[Markup]]


def atoms_of(text: str) -> list[Range]:
    """Returns where the atoms of a text are. A text with more such characters than there are atoms is a user's own."""
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


class TagRestorer(Generic[Markup]):
    """Restores the tags of one text in its translation. `write_text` makes markup of a text."""

    def __init__(
        self, text: str, translation: str, scores: ScoresOfElements, write_text: Callable[[str], Markup]
    ) -> None:
        self._text = text
        self._translation = translation
        self._words = find_words(translation)
        self._scores = scores
        self._write_text = write_text

    def restore(self, elements: Sequence[InlineElement[Markup]], source: Range, target: Range) -> Iterator[Markup]:
        """Yields a part of the translation with its tags.

        Args:
            elements: the outermost elements in the part of the text.
            source: the part of the text.
            target: the part of the translation that corresponds to it.
        """
        position, end = target
        placed = self._places(elements, source, target)
        for (start, stop), element in sorted(placed, key=lambda pair: pair[0]):
            before = self._translation[position:start]
            yield self._write(before.rstrip(" ") if element.is_break else before)
            # The model has dropped the atom. It is written between two words, with spaces around it.
            is_lost = element.is_atom and start == stop
            has_word_before = start > target[0] and not self._translation[start - 1].isspace()
            has_word_after = stop < end and not self._translation[stop].isspace()
            if is_lost and has_word_before:
                yield self._write_text(" ")
            yield from element.opening
            if is_lost and has_word_after:
                yield self._write_text(" ")
            if not element.is_atom:
                yield from self.restore(element.children, (element.start, element.end), (start, stop))
                yield self._write_text(element.space)
                yield from element.closing
            position = stop
        yield self._write(self._translation[position:end])

    def _write(self, text: str) -> Markup:
        return self._write_text(without_atoms(text))

    def _places(self, elements: Sequence[InlineElement[Markup]], source: Range, target: Range) -> list[Placed[Markup]]:
        """Returns where each element goes. Places do not overlap: what is found for certain goes first."""
        words = [word for word in self._words if target[0] <= word[0] and word[1] <= target[1]]
        placed: list[Placed[Markup]] = []
        with_words: list[tuple[list[float], InlineElement[Markup]]] = []
        without_words: list[InlineElement[Markup]] = []
        for element in elements:
            content = self._text[element.start : element.end]
            is_whole_part = (element.start, element.end) == source
            if is_whole_part and not element.is_atom and not placed:
                placed.append((target, element))
                continue
            if WORD.search(content) and not element.is_atom:
                with_words.append((self._gains(element, source, target, words), element))
                continue
            # An atom, or an element with nothing but punctuation: the translation may have the same characters.
            start = self._translation.find(content, *target) if content else -1
            place = start, start + len(content)
            taken = [*words, *(other for other, _ in placed)]
            if start >= 0 and (element.is_atom or not overlaps(place, taken)):
                placed.append((place, element))
            else:
                without_words.append(element)
        unplaced = without_words + self._place_around_words(with_words, words, placed)
        for element in unplaced:
            edge = self._edge(element, source, target, words, [place for place, _ in placed])
            placed.append((edge, element))
        return placed

    def _place_around_words(
        self,
        with_words: list[tuple[list[float], InlineElement[Markup]]],
        words: Sequence[Range],
        placed: list[Placed[Markup]],
    ) -> list[InlineElement[Markup]]:
        """Adds to `placed` the elements that have words, the one that gains most first. Returns those left over.

        `with_words` has each element with what it gains by each of the words. It is empty afterwards.
        """
        unplaced: list[InlineElement[Markup]] = []
        while with_words:
            owners = [_find_owner(word, placed) for word in words]
            # The best run of free words for each element.
            runs = []
            for gains, _ in with_words:
                pairs = zip(gains, owners, strict=True)
                runs.append(best_run([gain if owner is None else -math.inf for gain, owner in pairs]))
            best = runs.index(max(runs))
            gains, element = with_words.pop(best)
            total, first, last = runs[best]
            if total > -math.inf:
                place = words[first][0], words[last][1]
                placed.append((self._with_punctuation(element, place), element))
            elif not _share_place(element, gains, owners, words, placed):
                unplaced.append(element)
        return unplaced

    def _gains(
        self, element: InlineElement[Markup], source: Range, target: Range, words: Sequence[Range]
    ) -> list[float]:
        """Returns what an element gains by each word: positive where the word belongs to it."""
        content = self._text[element.start : element.end]
        scores = self._scores.get(id(element))
        largest = 0.0
        if scores is not None:
            largest = max((scores[start:end].max() for start, end in self._words), default=0.0)
        same_start = self._translation.find(content, *target)
        if scores is not None and largest > 0:
            least = MIN_SHARE if len(WORD.findall(content)) == 1 else MIN_PHRASE_SHARE
            gains = [float(scores[start:end].max() / largest - least) for start, end in words]
        elif same_start >= 0:
            same_words = same_start, same_start + len(content)
            gains = [1.0 if overlaps(word, [same_words]) else -1.0 for word in words]
        else:
            # All gains are negative, so the best run is one word: the word at the same share of the length.
            position = (element.start - source[0]) / max(1, source[1] - source[0])
            gains = [-abs(place / len(words) - position) for place in range(len(words))]

        own_atoms = {self._text[each.start] for each in element.walk() if each.is_atom}
        for index, (start, end) in enumerate(words):
            written = self._translation[start:end]
            if written in ATOMS:
                gains[index] = ATOM_GAIN if written in own_atoms else -ATOM_GAIN
        return gains

    def _edge(
        self,
        element: InlineElement[Markup],
        source: Range,
        target: Range,
        words: Sequence[Range],
        taken: Sequence[Range],
    ) -> Range:
        """Returns an empty place between words, at about the same share of the length as in the source.

        If possible, it is a place where no other element is.
        """
        is_last = element.end >= source[1]
        edges = [target[1]] if is_last else [target[0], *(start for start, _ in words), target[1]]
        used = {start for start, stop in taken if start == stop}
        if source[0] < element.start and not is_last:
            # What is within its part of the text is not put at an end of the translation's part.
            used |= {*target}
        source_length, target_length = source[1] - source[0], target[1] - target[0]
        wanted = target[0] + (element.start - source[0]) * target_length / max(1, source_length)
        free = [edge for edge in edges if not any(start < edge < stop for start, stop in taken)]
        edge = min(free, key=lambda edge: (edge in used, abs(edge - wanted)))
        return edge, edge

    def _with_punctuation(self, element: InlineElement[Markup], place: Range) -> Range:
        """Returns a place with the punctuation after it, if the element ends with the same punctuation."""
        content = self._text[element.start : element.end]
        ending = content[len(content.rstrip(_PUNCTUATION)) :]
        start, stop = place
        if self._translation.startswith(ending, stop):
            stop += len(ending)
        return start, stop


def _find_owner(word: Range, placed: Sequence[Placed[Markup]]) -> int | None:
    """Returns which of the placed elements has a word."""
    for index, (place, _) in enumerate(placed):
        if overlaps(word, [place]):
            return index
    return None


def _share_place(
    element: InlineElement[Markup],
    gains: Sequence[float],
    owners: Sequence[int | None],
    words: Sequence[Range],
    placed: list[Placed[Markup]],
) -> bool:
    """Places an element where all words are taken. Returns whether another element could give away a part of its place.

    The other element is the owner of the word by which the element gains most. It gives away its last word, or half of
    its only word.
    """
    candidates: list[tuple[float, int]] = []
    for gain, owner in zip(gains, owners, strict=True):
        if owner is not None:
            start, end = placed[owner][0]
            # One character cannot be divided.
            if end - start > 1:
                candidates.append((gain, owner))
    if not candidates:
        return False
    _, owner = max(candidates)
    (start, end), host = placed[owner]
    *others, last_word = (word for word in words if overlaps(word, [(start, end)]))
    if others:
        host_end, own_start = others[-1][1], last_word[0]
    else:
        host_end = own_start = (start + end) // 2
    placed[owner] = (start, host_end), host
    placed.append(((own_start, end), element))
    return True


def best_run(gains: Sequence[float]) -> tuple[float, int, int]:
    """Returns the largest sum of gains in a row, and the first and last of them (Kadane's algorithm)."""
    best, total, start = (-math.inf, 0, 0), 0.0, 0
    for place, gain in enumerate(gains):
        if total > 0:
            total += gain
        else:
            start, total = place, gain
        if total > best[0]:
            best = total, start, place
    return best
