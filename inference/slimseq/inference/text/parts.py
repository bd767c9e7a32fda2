"""The parts of a sentence that are translated alone, where spans are lost when it is translated whole.

`passes` translates the parts, and joins them again.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from slimseq.inference.text.localization import POSSESSIVE, insert_renderings
from slimseq.inference.text.masking import ProtectedSentence
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import has_unprotected_words

# From the first letter or digit of a text to the last one.
WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)
# Fewer words are not translated alone if that can be avoided.
MIN_WORDS = 3
# Limit of the clauses that a sentence is divided into. A sentence that is parted around all of its spans has as many
# parts: 16 spans at most (`sentences.MAX_SPANS`), and 17 parts around them.
MAX_CLAUSES = 33
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s[-\u2013\u2014](?=\s)")


@dataclass(frozen=True)
class SentencePart:
    """A part of a sentence: its words with their spans if it has any, and what is before and after them."""

    before: str
    words: ProtectedSentence | None = None
    after: str = ""


def all_clauses(sentence: ProtectedSentence) -> list[SentencePart]:
    """Returns all clauses of a sentence. Short ones are part of the next one."""
    fewest_words = max(MIN_WORDS, math.ceil(len(sentence.text.split()) / MAX_CLAUSES))
    cuts: list[int] = []
    start = 0
    for end in _clause_ends(sentence):
        if len(sentence.text[start:end].split()) >= fewest_words:
            cuts.append(end)
            start = end
    return _cut_at(sentence, cuts)


def parts_with(sentence: ProtectedSentence, lost: Collection[int]) -> list[SentencePart]:
    """Returns the clauses of lost spans and what is between them, or what is around the spans of a single clause."""
    return _clauses_with(sentence, lost) or parts_around(sentence, _with_tags(sentence, lost), MIN_WORDS)


def parts_around(sentence: ProtectedSentence, lost: Sequence[int], fewest_words: int = 0) -> list[SentencePart]:
    """Returns the lost spans of a sentence as parts of their own, and the parts between them.

    A span other than a tag stays in the part before it if fewer words than `fewest_words`, such as "at" or "to", are
    between it and the span before. At least one span is set apart.
    """
    set_apart: list[int] = []
    start = 0
    for index in lost:
        span = sentence.spans[index]
        if span.kind is SpanKind.TAG or len(sentence.text[start : span.start].split()) >= fewest_words:
            set_apart.append(index)
            start = span.end
    parts: list[SentencePart] = []
    start = 0
    for index in set_apart or lost[:1]:
        span = sentence.spans[index]
        possessive = POSSESSIVE.match(sentence.text, span.end)
        after = possessive[0] if possessive else ""
        parts += [_part(sentence, start, span.start), SentencePart(sentence.renderings[index].text + after)]
        start = span.end + len(after)
    return [*parts, _part(sentence, start, len(sentence.text))]


def _clauses_with(sentence: ProtectedSentence, lost: Collection[int]) -> list[SentencePart]:
    """Returns the parts of a sentence before, between and after the clauses of some of its spans.

    Returns none if the sentence has no clause that can be set apart.
    """
    ends = _clause_ends(sentence)
    cuts: set[int] = set()
    for index in lost:
        span = sentence.spans[index]
        before, after = bisect_right(ends, span.start), bisect_left(ends, span.end)
        if before > 0:
            cuts.add(ends[before - 1])
        if after < len(ends):
            cuts.add(ends[after])
    return _cut_at(sentence, sorted(cuts)) if cuts else []


def _clause_ends(sentence: ProtectedSentence) -> list[int]:
    """Returns where clauses end, except within spans."""
    ends = [match.end() for match in _CLAUSE_END.finditer(sentence.text)]
    return [end for end in ends if not any(span.start < end < span.end for span in sentence.spans)]


def _cut_at(sentence: ProtectedSentence, places: Sequence[int]) -> list[SentencePart]:
    return [_part(sentence, start, end) for start, end in pairwise([0, *places, len(sentence.text)])]


def _with_tags(sentence: ProtectedSentence, lost: Collection[int]) -> list[int]:
    """Adds all tags where one is lost, since a tag and its end belong together."""
    tags = {index for index, span in enumerate(sentence.spans) if span.kind is SpanKind.TAG}
    return sorted(tags.union(lost)) if tags.intersection(lost) else sorted(lost)


def _part(sentence: ProtectedSentence, start: int, end: int) -> SentencePart:
    """Returns a range of a sentence as a part. Punctuation and spaces around its words and spans are not translated."""
    text = sentence.text[start:end]
    places = [index for index, span in enumerate(sentence.spans) if start <= span.start and span.end <= end]
    spans = [sentence.spans[index].moved(-start) for index in places]
    renderings = [sentence.renderings[index] for index in places]
    if not has_unprotected_words(text, spans):
        return SentencePart(insert_renderings(text, spans, renderings))
    edges = [edge for span in spans for edge in (span.start, span.end)]
    words = WORDS.search(text)
    if words is not None:
        edges += words.span()
    first, last = min(edges), max(edges)
    inner = ProtectedSentence(text[first:last], [span.moved(-first) for span in spans], renderings)
    return SentencePart(text[:first], inner, text[last:])
