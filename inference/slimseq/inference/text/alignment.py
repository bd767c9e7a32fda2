"""Finds what belongs to the inline elements of a sentence in its translation.

A word belongs to an element if the model would hardly write it without the element (prediction difference: Li et al.
2019, https://aclanthology.org/P19-1124). So the translation is scored for the sentence, and for the sentence with a
placeholder in place of each element. The score of a token for an element is the difference. All runtimes score with a
forced pass: the decoder reads the given translation at once, without a search. `formats.tags` places the tags by these
scores.

Words that the model cannot write were copied into the translation. Their places are known without scores.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from slimseq.inference.generator import Score, TextGenerator, TextOutput
from slimseq.inference.text.formats.tags import InlineElement
from slimseq.inference.text.passes import Passes, StagedPasses
from slimseq.inference.text.sentences import Segment
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, Range

# Stands for the words of an element. Models copy it, or leave it out.
PLACEHOLDER = "X"
# Characters that a forced pass counts for at least: a short row takes time too.
MIN_CHARACTERS = 20


def find_elements(segments: Sequence[Segment], text: str, elements: Sequence[InlineElement[Any]]) -> list[Segment]:
    """Returns the segments of a text, each with the parts of the text's inline elements that are in it."""
    found: list[Segment] = []
    end = 0
    for segment in segments:
        start = text.find(segment.text, end)
        end = max(end, start + len(segment.text))
        if start < 0:
            # Marks without width were taken out of this segment. It goes without elements.
            found.append(segment)
            continue
        parts = tuple((max(each.start, start) - start, min(each.end, end) - start) for each in elements)
        if any(first < last for first, last in parts):
            segment = segment._replace(elements=parts)
        found.append(segment)
    return found


def scored_characters(segment: Segment) -> int:
    """Returns how many characters the forced passes of a segment read: one for the sentence, one for each element."""
    elements = sum(start < end for start, end in segment.elements)
    return max(len(segment.text), MIN_CHARACTERS) * (elements + 1) if elements else 0


class AlignedPasses(StagedPasses):
    """Translates a sentence in passes, and then scores its translation once for each element that has words in it."""

    def __init__(self, passes: Passes, segment: Segment, generator: TextGenerator) -> None:
        super().__init__()
        self._segment = segment
        self._generator = generator
        self._run(passes, self._translated)

    def _translated(self, output: TextOutput) -> None:
        segment = self._segment
        self._copied = _find_copied(segment, output.text)
        # An element without words to score has an empty range.
        elements = [
            each if _has_translated_words(segment.text, each, self._copied) else (0, 0) for each in segment.elements
        ]
        self._run(ScoringPass(output, segment.text, elements, self._generator), self._scored)

    def _scored(self, output: TextOutput) -> None:
        of_copied = _scores_of_copied(self._segment, output.scores, self._copied)
        self._finish(replace(output, scores=(*output.scores, *of_copied)))


class ScoringPass(Passes):
    """Scores a translation. `scores` of the output says how much its tokens depend on each element of the sentence.

    There are no inputs, and no scores, if no element has a range that is not empty, or the translation has no words.
    """

    def __init__(self, output: TextOutput, text: str, elements: Sequence[Range], generator: TextGenerator) -> None:
        super().__init__()
        self._translation = output
        self._elements = [index for index, (start, end) in enumerate(elements) if start < end]
        if self._elements and re.search(r"\w", output.text):
            forced = generator.force(output.text)
            if forced.ids:
                texts = [text]
                for index in self._elements:
                    start, end = elements[index]
                    texts.append(text[:start] + PLACEHOLDER + text[end:])
                self.inputs = [replace(each, output=forced) for each in generator.encode_many(texts)]
        if not self.inputs:
            self._finish(replace(output, scores=()))

    def _take(self, outputs: Sequence[TextOutput]) -> None:
        of_sentence, *without_elements = outputs
        scores: list[Score] = []
        for index, without_element in zip(self._elements, without_elements, strict=True):
            for full, reduced in zip(of_sentence.scores, without_element.scores, strict=True):
                scores.append(Score(full.start, full.end, full.value - reduced.value, index))
        self._finish(replace(self._translation, scores=tuple(scores)))


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


def _has_translated_words(text: str, element: Range, copied: Sequence[tuple[ProtectedSpan, int]]) -> bool:
    """Whether an element has words other than the copied ones, which the model translated."""
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
    """Yields scores of copied words, which replace the model's scores.

    A copied word has the largest score for the element that it was in, and 0 for all other elements. Later scores win.
    """
    for index, (start, end) in enumerate(segment.elements):
        largest = max((score.value for score in scores if score.element == index), default=0.0)
        for span, place in copied:
            yield Score(place, place + len(span.text), 0.0, index)
            first, last = max(start, span.start), min(end, span.end)
            if first < last:
                offset = place - span.start
                yield Score(first + offset, last + offset, largest if largest > 0 else 1.0, index)
