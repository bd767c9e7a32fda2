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
from typing import Any, NamedTuple

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
# The range of an element that has no words to score.
EMPTY_RANGE: Range = (0, 0)


class CopiedWord(NamedTuple):
    """A word that the model cannot write: its place in the sentence, and where it begins in the translation."""

    span: ProtectedSpan
    start: int

    @property
    def end(self) -> int:
        """The end of the word in the translation."""
        return self.start + len(self.span.text)


def find_elements(segments: Sequence[Segment], text: str, elements: Sequence[InlineElement[Any]]) -> list[Segment]:
    """Returns the segments of a text, each with the parts of the text's inline elements that are in it."""
    found: list[Segment] = []
    end = 0
    for segment in segments:
        start = text.find(segment.text, end)
        if start < 0:
            # Marks without width were taken out of this segment. It goes without elements.
            found.append(segment)
            continue
        end = start + len(segment.text)
        # The part of each element that is in the segment. It is empty, or reversed, if the element is elsewhere.
        parts = tuple((max(each.start, start) - start, min(each.end, end) - start) for each in elements)
        if any(first < last for first, last in parts):
            segment = segment._replace(elements=parts)
        found.append(segment)
    return found


def scored_characters(segment: Segment) -> int:
    """Returns how many characters the forced passes of a segment read: one for the sentence, one for each element."""
    elements = [(start, end) for start, end in segment.elements if start < end]
    if not elements:
        return 0
    passes = 1 + len(elements)
    return passes * max(len(segment.text), MIN_CHARACTERS)


class AlignedPasses(StagedPasses):
    """Translates a sentence in passes, and then scores its translation once for each element that has words in it.

    The base class runs these two stages. It calls `_translated` at the end of the first stage, and `_scored` at the end
    of the second one, each with the stage's output.
    """

    def __init__(self, passes: Passes, segment: Segment, generator: TextGenerator) -> None:
        super().__init__()
        self._segment = segment
        self._generator = generator
        self._copied: Sequence[CopiedWord] = ()
        self._run(passes, self._translated)

    def _translated(self, output: TextOutput) -> None:
        segment = self._segment
        self._copied = _find_copied(segment, output.text)
        elements: list[Range] = []
        for element in segment.elements:
            has_words_to_score = _has_translated_words(segment.text, element, self._copied)
            elements.append(element if has_words_to_score else EMPTY_RANGE)
        self._run(ScoringPass(output, segment.text, elements, self._generator), self._scored)

    def _scored(self, output: TextOutput) -> None:
        scores_of_copied = _scores_of_copied(self._segment, output.scores, self._copied)
        self._finish(replace(output, scores=(*output.scores, *scores_of_copied)))


class ScoringPass(Passes):
    """Scores a translation. `scores` of the output says how much its tokens depend on each element of the sentence.

    There are no inputs, and no scores, if all elements have empty ranges, or if the translation has no words.
    """

    def __init__(self, output: TextOutput, text: str, elements: Sequence[Range], generator: TextGenerator) -> None:
        super().__init__()
        self._translation = output
        # The elements that are scored, by their place in `elements`.
        self._scored_elements = [index for index, (start, end) in enumerate(elements) if start < end]
        if self._scored_elements and _has_words(output.text):
            forced = generator.force(output.text)
            if forced.ids:
                # The sentence, and then the sentence without each element.
                texts = [text]
                for index in self._scored_elements:
                    start, end = elements[index]
                    texts.append(text[:start] + PLACEHOLDER + text[end:])
                self.inputs = [replace(each, output=forced) for each in generator.encode_many(texts)]
        if not self.inputs:
            self._finish(replace(output, scores=()))

    def _take(self, outputs: Sequence[TextOutput]) -> None:
        of_sentence, *of_sentence_without_element = outputs
        scores: list[Score] = []
        for index, without_element in zip(self._scored_elements, of_sentence_without_element, strict=True):
            for full, reduced in zip(of_sentence.scores, without_element.scores, strict=True):
                scores.append(Score(full.start, full.end, full.value - reduced.value, index))
        self._finish(replace(self._translation, scores=tuple(scores)))


def _find_copied(segment: Segment, output: str) -> list[CopiedWord]:
    """Returns the words of a sentence that its model cannot write, and that are in its translation."""
    found: list[CopiedWord] = []
    # By word, the end of its last place in the translation. The next span of the same word is searched from there.
    ends: dict[str, int] = {}
    for span in segment.spans:
        if span.kind is not SpanKind.WORD:
            continue
        start = output.find(span.text, ends.get(span.text, 0))
        if start >= 0:
            word = CopiedWord(span, start)
            found.append(word)
            ends[span.text] = word.end
    return found


def _has_translated_words(text: str, element: Range, copied: Sequence[CopiedWord]) -> bool:
    """Whether an element of a sentence has words that the model translated: words other than the copied ones."""
    start, end = element
    for word in copied:
        is_in_element = start < word.span.end and word.span.start < end
        if not is_in_element:
            continue
        if _has_words(text[start : word.span.start]):
            return True
        start = word.span.end
    return _has_words(text[start:end])


def _has_words(text: str) -> bool:
    return re.search(r"\w", text) is not None


def _scores_of_copied(segment: Segment, scores: Sequence[Score], copied: Sequence[CopiedWord]) -> Iterator[Score]:
    """Yields scores of copied words, which replace the model's scores.

    A copied word has the largest score for the element that it was in, and 0 for all other elements. Later scores win.
    """
    for index, (element_start, element_end) in enumerate(segment.elements):
        largest = max((score.value for score in scores if score.element == index), default=0.0)
        if largest <= 0:
            largest = 1.0
        for word in copied:
            yield Score(word.start, word.end, 0.0, index)
            # The part of the word in the element, in the sentence and then in the translation.
            start = max(element_start, word.span.start)
            end = min(element_end, word.span.end)
            if start < end:
                offset = word.start - word.span.start
                yield Score(start + offset, end + offset, largest, index)
