"""A sentence with spans as a model gets it: with placeholders for some of its spans, or in parts around them.

The spans are put back into the outputs, in place of their placeholders. `passes` says which sentence or part to
translate next, `checking` what a translation has of the spans that have no placeholder.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from slimseq.inference.text.checking import check
from slimseq.inference.text.localization import POSSESSIVE, Rendering, insert_renderings, put_signs
from slimseq.inference.text.numbers import is_whole
from slimseq.inference.text.spans import ProtectedSpan, SpanKind, has_unprotected_words, replaced

# From the first letter or digit of a text to the last one.
WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)
# Fewer words are not translated alone if that can be avoided.
MIN_WORDS = 3
# As many parts as a sentence has that is parted around all of its spans.
MAX_CLAUSES = 33
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s[-\u2013\u2014](?=\s)")
_WORD_CHARACTERS = re.compile(r"\w+")


@dataclass(frozen=True)
class Placeholder:
    """What stands for a span, what replaces it, and whether a space was added before or after it."""

    name: str
    replacement: str
    is_spaced_before: bool = False
    is_spaced_after: bool = False


@dataclass(frozen=True)
class Masked:
    """A sentence with placeholders."""

    text: str
    placeholders: tuple[Placeholder, ...]

    def restored(self, output: str) -> tuple[str, list[int]]:
        """Returns a translation with the spans in place of their placeholders.

        The numbers are those of the spans whose placeholder is not in the translation exactly once.
        """
        found: dict[int, Placeholder] = {}
        lost: list[int] = []
        for index, placeholder in enumerate(self.placeholders):
            matches = re.finditer(re.escape(placeholder.name), output)
            places = [match.start() for match in matches if _is_alone(output, match)]
            if len(places) != 1:
                lost.append(index)
            found |= dict.fromkeys(places, placeholder)
        changes: list[tuple[int, int, str]] = []
        end = 0
        for place, placeholder in sorted(found.items()):
            start = place
            if placeholder.is_spaced_before and output.endswith(" ", end, start):
                start -= 1
            end = place + len(placeholder.name)
            if placeholder.is_spaced_after and output.startswith(" ", end):
                end += 1
            changes.append((start, end, placeholder.replacement))
        return replaced(output, changes), lost


def _is_alone(output: str, match: re.Match[str]) -> bool:
    """Whether a placeholder is a word or a number of its own."""
    if _has_word_character(output, match.start() - 1) or _has_word_character(output, match.end()):
        return False
    return not match[0].isdecimal() or is_whole(output, match.start(), match.end())


@dataclass(frozen=True)
class Part:
    """A part of a sentence: its words with their spans if it has any, and what is before and after them."""

    before: str
    words: "ProtectedSentence | None" = None
    after: str = ""


@dataclass(frozen=True)
class ProtectedSentence:
    """A sentence, its spans, and how they read in the target language."""

    text: str
    spans: Sequence[ProtectedSpan]
    renderings: Sequence[Rendering]

    def masked(self, chosen: Sequence[int], names: Sequence[str]) -> Masked | None:
        """Returns the sentence with placeholders for the chosen spans, None if there are too few of them."""
        if not chosen:
            return Masked(self.text, ())
        words = self._words_without(chosen)
        free = [each for each in names if each.lower() not in words]
        if len(free) < len(chosen):
            return None
        text = self.text
        pieces: list[str] = []
        placeholders: list[Placeholder] = []
        end = 0
        for index, name in zip(chosen, free, strict=False):
            span = self.spans[index]
            is_beside_last = 0 < span.start == end
            is_spaced_before = is_beside_last or _has_word_character(text, span.start - 1)
            is_spaced_after = _has_word_character(text, span.end)
            pieces += [text[end : span.start], " " if is_spaced_before else "", name, " " if is_spaced_after else ""]
            placeholders.append(Placeholder(name, self.renderings[index].text, is_spaced_before, is_spaced_after))
            end = span.end
        return Masked("".join([*pieces, text[end:]]), tuple(placeholders))

    def _words_without(self, chosen: Sequence[int]) -> set[str]:
        """Returns the words that are not in the chosen spans, in small letters."""
        found: set[str] = set()
        start = 0
        for index in chosen:
            found |= {word.lower() for word in _WORD_CHARACTERS.findall(self.text[start : self.spans[index].start])}
            start = self.spans[index].end
        return found | {word.lower() for word in _WORD_CHARACTERS.findall(self.text[start:])}

    def restored(self, chosen: Sequence[int], masked: Masked, output: str) -> tuple[str, set[int]]:
        """Returns the text of an output with its spans, and the places of the spans that are not in it."""
        others = [index for index in range(len(self.spans)) if index not in chosen]
        renderings = [self.renderings[index] for index in others]
        found = check(output, renderings)
        if found.joined:
            found = check(found.add_spaces(self.text), renderings)
        text = found.text
        missing = {others[index] for index in found.missing}
        repaired = found.repair() if found.absent else None
        if repaired is not None:
            text, missing = repaired, set()
        text, lost = masked.restored(put_signs(text, renderings))
        return text, missing | {chosen[index] for index in lost}

    def clauses_of(self, lost: Sequence[int]) -> list[Part]:
        """Returns the parts of the sentence before, between and after the clauses of some of its spans.

        Returns none if the sentence has no clause that can be set apart.
        """
        ends = self._clause_ends()
        cuts: set[int] = set()
        for index in lost:
            span = self.spans[index]
            before, after = bisect_right(ends, span.start), bisect_left(ends, span.end)
            if before > 0:
                cuts.add(ends[before - 1])
            if after < len(ends):
                cuts.add(ends[after])
        return self._cut_at(sorted(cuts)) if cuts else []

    def clauses(self) -> list[Part]:
        """Returns all clauses of the sentence. Short ones are part of the next one."""
        fewest = max(MIN_WORDS, math.ceil(len(self.text.split()) / MAX_CLAUSES))
        cuts: list[int] = []
        start = 0
        for end in self._clause_ends():
            if len(self.text[start:end].split()) >= fewest:
                cuts.append(end)
                start = end
        return self._cut_at(cuts)

    def _clause_ends(self) -> list[int]:
        """Returns where clauses end, except within spans."""
        ends = [match.end() for match in _CLAUSE_END.finditer(self.text)]
        return [end for end in ends if not any(span.start < end < span.end for span in self.spans)]

    def _cut_at(self, places: Sequence[int]) -> list[Part]:
        return [self._part(start, end) for start, end in pairwise([0, *places, len(self.text)])]

    def with_tags(self, lost: Collection[int]) -> list[int]:
        """Adds all tags where one is lost, since a tag and its end belong together."""
        tags = {index for index, span in enumerate(self.spans) if span.kind is SpanKind.TAG}
        return sorted(tags.union(lost)) if tags.intersection(lost) else sorted(lost)

    def parts_around(self, lost: Sequence[int], fewest_words: int) -> list[Part]:
        """Returns some spans of the sentence, at least one, and the parts between them.

        A span other than a tag stays in its part where fewer words would be between it and the span before, such as
        "at" or "to".
        """
        parted: list[int] = []
        start = 0
        for index in lost:
            span = self.spans[index]
            if span.kind is SpanKind.TAG or len(self.text[start : span.start].split()) >= fewest_words:
                parted.append(index)
                start = span.end
        parts: list[Part] = []
        start = 0
        for index in parted or lost[:1]:
            span = self.spans[index]
            possessive = POSSESSIVE.match(self.text, span.end)
            after = possessive[0] if possessive else ""
            parts += [self._part(start, span.start), Part(self.renderings[index].text + after)]
            start = span.end + len(after)
        return [*parts, self._part(start, len(self.text))]

    def _part(self, start: int, end: int) -> Part:
        text = self.text[start:end]
        places = [index for index, span in enumerate(self.spans) if start <= span.start and span.end <= end]
        spans = [self.spans[index].moved(-start) for index in places]
        renderings = [self.renderings[index] for index in places]
        if not has_unprotected_words(text, spans):
            return Part(insert_renderings(text, spans, renderings))
        edges = [edge for span in spans for edge in (span.start, span.end)]
        words = WORDS.search(text)
        if words is not None:
            edges += words.span()
        first, last = min(edges), max(edges)
        sentence = ProtectedSentence(text[first:last], [span.moved(-first) for span in spans], renderings)
        return Part(text[:first], sentence, text[last:])


def _has_word_character(text: str, place: int) -> bool:
    """Whether there is a letter, a digit or an underscore at a place, which may be outside of the text."""
    return 0 <= place < len(text) and _WORD_CHARACTERS.match(text, place) is not None
