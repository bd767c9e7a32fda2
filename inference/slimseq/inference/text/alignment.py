"""Finds what belongs to the inline elements of a sentence in its translation.

A word belongs to an element if the model would hardly write it without the element (prediction difference: Li et al.
2019, https://aclanthology.org/P19-1124). So the translation is scored for the sentence, and for the sentence with a
placeholder in place of each element. All runtimes do that with one forced pass, which no search has to wait for.

Words that the model cannot write were copied into the translation. Their places are known, and have no scores.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from slimseq.inference.generator import Score, TextGenerator, TextOutput
from slimseq.inference.text.formats.tags import Span
from slimseq.inference.text.sentences import Segment
from slimseq.inference.text.spans import ProtectedSpan, Range, SpanKind
from slimseq.inference.tokenizer import Encoding

AlignedPasses = Generator[Sequence[str | Encoding], Sequence[TextOutput], TextOutput]
# Stands for the words of an element. Models copy it, or leave it out.
PLACEHOLDER = "X"
MIN_CHARACTERS = 20


def find_elements(segments: Sequence[Segment], text: str, elements: Sequence[Span[Any]]) -> list[Segment]:
    """Returns the segments of a text with the parts of its inline elements that are in each."""
    found, end = [], 0
    for segment in segments:
        # Marks without width were taken out of a segment that is not found.
        start = text.find(segment.text, end)
        end = max(end, start + len(segment.text))
        parts = tuple((max(each.start, start) - start, min(each.end, end) - start) for each in elements)
        is_found = start >= 0 and any(first < last for first, last in parts)
        found.append(segment._replace(elements=parts) if is_found else segment)
    return found


def scored_characters(segment: Segment) -> int:
    """Returns how many characters the forced passes of a segment read. Each counts for a few at least, as a row."""
    elements = sum(start < end for start, end in segment.elements)
    return max(len(segment.text), MIN_CHARACTERS) * (elements + 1) if elements else 0


def align(passes: AlignedPasses, segment: Segment, generator: TextGenerator) -> AlignedPasses:
    """Translates a sentence in passes, and then scores its translation once for each element that has words in it."""
    output = yield from passes
    copied = _find_copied(segment, output.text)
    elements = [each if _has_others(segment.text, each, copied) else (0, 0) for each in segment.elements]
    scored = yield from score_elements(output, segment.text, elements, generator)
    return replace(scored, scores=(*scored.scores, *_scores_of_copied(segment, scored.scores, copied)))


def _find_copied(segment: Segment, output: str) -> list[tuple[ProtectedSpan, int]]:
    """Returns the words of a sentence that its model cannot write, and where each begins in the translation."""
    found: list[tuple[ProtectedSpan, int]] = []
    ends: dict[str, int] = {}
    for span in segment.spans:
        if span.kind is not SpanKind.WORD:
            continue
        start = output.find(span.text, ends.get(span.text, 0))
        if start >= 0:
            found.append((span, start))
            ends[span.text] = start + len(span.text)
    return found


def _has_others(text: str, element: Range, copied: Sequence[tuple[ProtectedSpan, int]]) -> bool:
    """Whether an element has words that were translated."""
    start, end = element
    for span, _ in copied:
        if start < span.end and span.start < end:
            if re.search(r"\w", text[start : span.start]):
                return True
            start = span.end
    return re.search(r"\w", text[start:end]) is not None


def _scores_of_copied(
    segment: Segment, scores: Sequence[Score], copied: Sequence[tuple[ProtectedSpan, int]]
) -> Iterator[Score]:
    """Yields the scores of copied words, in place of those that they have: most for their element, none for others."""
    for index, (start, end) in enumerate(segment.elements):
        largest = max((score.value for score in scores if score.element == index), default=0.0)
        for span, place in copied:
            yield Score(place, place + len(span.text), 0.0, index)
            first, last = max(start, span.start), min(end, span.end)
            if first < last:
                offset = place - span.start
                yield Score(first + offset, last + offset, largest if largest > 0 else 1.0, index)


def score_elements(output: TextOutput, text: str, elements: Sequence[Range], generator: TextGenerator) -> AlignedPasses:
    """Returns a translation with `scores`: how much its tokens depend on each element of the sentence."""
    searched = [index for index, (start, end) in enumerate(elements) if start < end]
    found: list[Score] = []
    if searched and re.search(r"\w", output.text) and (forced := generator.force(output.text)).ids:
        others = [text[: elements[each][0]] + PLACEHOLDER + text[elements[each][1] :] for each in searched]
        all_words, *without = yield [replace(each, output=forced) for each in generator.encode_many([text, *others])]
        for index, scored in zip(searched, without, strict=True):
            for before, after in zip(all_words.scores, scored.scores, strict=True):
                found.append(Score(before.start, before.end, before.value - after.value, index))
    return replace(output, scores=tuple(found))
