"""Puts the targets of a glossary's terms into the translation of a sentence.

The sentence is translated as it is. If the translation lacks the target of a term, the target takes the place of the
words that depend on the term. These words are found in the same way as the words of an inline element (`alignment`).
All other words stay. If it is not sure which words these are, the sentence is translated again with its terms as
protected spans.
docs/decisions/038 has what was measured.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.generator import Score, TextGenerator, TextOutput
from slimseq.inference.text.alignment import ScoringPass
from slimseq.inference.text.formats.tags import ATOMS, MIN_PHRASE_SHARE, best_run
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES
from slimseq.inference.text.passes import SentencePasses, StagedPasses
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, Range, find_spans, overlaps, replaced

# Terms of a sentence whose words are looked for in its translation. If more targets are missing, terms are protected.
MAX_TERMS = 8
# What a translation is scored for: a term, the word before it and the one after it.
ELEMENTS_OF_TERM = 3
# Characters of a sentence that is scored. A longer one has code or a URL that is longer than what models read.
MAX_CHARACTERS = 2000
# A word of the translation may be a compound of the term and of the neighbour of the term, such as `Hausschlüssel`. It
# is one if it depends on the neighbour too. This dependence is at least the first share of its dependence on the term,
# and at least the second share of the largest dependence of any word on the neighbour. Both were measured: a noun
# depends less on an article.
MIN_SHARED, MIN_OF_MOST = 0.4, 0.8
# The scores of words with fewer letters count less: they are rarely nouns.
USUAL_LETTERS = 4
_WITHOUT_SPACES = re.compile(f"[{FIRST_WITHOUT_SPACES}-\u9fff]")
_LETTER = f"[^\\W{FIRST_WITHOUT_SPACES}-\u9fff]"
_WORD = re.compile(rf"[{ATOMS}]|\w+(?:-\w+)*")
_WORD_BEFORE, _WORD_AFTER = re.compile(r"(\w{3,40})[ -]\Z"), re.compile(r"[ -](\w{3,40})")


class InsertionPasses(StagedPasses):
    """Translates a sentence in passes, as `SentencePasses` do, with the targets of its terms in the translation."""

    def __init__(
        self, text: str, spans: Sequence[ProtectedSpan], source: str, target: str, generator: TextGenerator
    ) -> None:
        super().__init__()
        self._text = text
        self._terms = [span for span in spans if span.kind is SpanKind.TERM]
        self._others = [span for span in spans if span.kind is not SpanKind.TERM]
        self._with_terms_protected = partial(SentencePasses, text, spans, source, target)
        self._generator = generator
        # Of the translation and its alternatives, the outputs that are not checked yet, and the outputs with all
        # targets.
        self._to_check: list[TextOutput] = []
        self._with_targets: list[TextOutput] = []
        self._run(SentencePasses(text, self._others, source, target), self._translated)

    def _translated(self, output: TextOutput) -> None:
        self._translation = output
        if output.finish_reason == "length":
            places = find_targets(output.text, self._terms)
            missing = [term.target for term, place in zip(self._terms, places, strict=True) if place is None]
            self._finish(replace(output, lost=(*output.lost, *missing)))
            return
        self._to_check = [output, *output.alternatives]
        self._insert_next()

    def _insert_next(self) -> None:
        """Looks for the targets in the next translation. After the last one, the passes end."""
        if not self._to_check:
            best, *alternatives = self._with_targets
            self._finish(replace(best, alternatives=tuple(alternatives)))
            return
        output = self._candidate = self._to_check.pop(0)
        places = find_targets(output.text, self._terms)
        self._missing = [term for term, place in zip(self._terms, places, strict=True) if place is None]
        self._places = [place for place in places if place is not None]
        if not self._missing:
            self._inserted(output)
        elif not self._may_be_scored(output):
            self._not_inserted()
        else:
            elements = [each for term in self._missing for each in _with_words_beside(self._text, term)]
            self._run(ScoringPass(output, self._text, elements, self._generator), self._scored)

    def _may_be_scored(self, output: TextOutput) -> bool:
        is_long = max(len(self._text), len(output.text)) > MAX_CHARACTERS
        # Words without spaces between them cannot be told apart.
        return not is_long and len(self._missing) <= MAX_TERMS and not _WITHOUT_SPACES.search(output.text)

    def _scored(self, scored: TextOutput) -> None:
        text = scored.text
        others = [match.span() for each in self._others for match in re.finditer(re.escape(each.text), text)]
        written = put_targets(text, scored.scores, self._missing, [*self._places, *others])
        if written is None:
            self._not_inserted()
        else:
            self._inserted(replace(self._candidate, text=written))

    def _inserted(self, output: TextOutput) -> None:
        self._with_targets.append(output)
        self._insert_next()

    def _not_inserted(self) -> None:
        """Leaves an alternative out. If it is the translation itself, the terms are protected as other spans are."""
        if self._with_targets:
            self._insert_next()
        else:
            self._run(self._with_terms_protected(), self._translated_again)

    def _translated_again(self, output: TextOutput) -> None:
        # The tokens of all passes count.
        self._finish(replace(output, output_tokens=output.output_tokens + self._translation.output_tokens))


def find_targets(output: str, terms: Sequence[ProtectedSpan]) -> list[Range | None]:
    """Returns where the target of each term is in a translation, as whole words, each at another place."""
    found: list[Range | None] = [None] * len(terms)
    # A long target may contain a short one.
    longest_first = sorted(range(len(terms)), key=lambda index: -len(terms[index].target))
    for index in longest_first:
        # As whole words.
        for match in re.finditer(rf"(?<!{_LETTER}){re.escape(terms[index].target)}(?!{_LETTER})", output):
            if found[index] is None and not overlaps(match.span(), [place for place in found if place]):
                found[index] = match.span()
    return found


def put_targets(
    output: str, scores: Sequence[Score], terms: Sequence[ProtectedSpan], taken: Sequence[Range]
) -> str | None:
    """Returns a translation with the targets of terms in place of their words.

    `scores` are for three elements a term: its own words, the word before it and the one after it. The words of a term
    are those that depend on it most, and are not `taken`. Returns None if it is not sure which words these are.
    """
    gains = np.zeros((len(terms), ELEMENTS_OF_TERM, len(output)))
    for score in scores:
        index, neighbour = divmod(score.element, ELEMENTS_OF_TERM)
        gains[index, neighbour, score.start : score.end] = score.value
    places = [*taken, *((span.start, span.end) for span in find_spans(output, ""))]
    words = [match.span() for match in _WORD.finditer(output)]
    changes: list[tuple[int, int, str]] = []
    for term, (own, *neighbours) in zip(terms, gains, strict=True):
        place = _words_of(term, words, own, neighbours, places)
        if place is None:
            return None
        places.append(place)
        changes.append((*place, term.target))
    return replaced(output, sorted(changes))


def _words_of(
    term: ProtectedSpan,
    words: Sequence[Range],
    own: NDArray[np.float64],
    neighbours: Sequence[NDArray[np.float64]],
    taken: Sequence[Range],
) -> Range | None:
    """Returns which words of a translation belong to a term.

    `own` and `neighbours` have for each character of the translation how much it depends on the term, and on the words
    beside the term. Returns None if no word belongs to the term, or if it is a compound of the term and a neighbour.
    """
    gains = [-math.inf if overlaps(word, taken) else _gain(own, word) for word in words]
    largest = max(gains, default=0.0)
    if largest <= 0:
        return None
    first = last = gains.index(largest)
    for each in neighbours:
        shared = [_gain(each, word) for word in words]
        if shared[first] > max(MIN_SHARED * largest, MIN_OF_MOST * max(shared)):
            return None
    if len(term.text.split()) > 1:
        _, first, last = best_run([gain / largest - MIN_PHRASE_SHARE for gain in gains])
    return words[first][0], words[last][1]


def _gain(gains: NDArray[np.float64], word: Range) -> float:
    """Returns how much a word depends on an element, given the gains of its characters."""
    start, end = word
    return float(gains[start:end].max()) * min(end - start, USUAL_LETTERS)


def _with_words_beside(text: str, term: ProtectedSpan) -> list[Range]:
    """Returns the places of a term, of the word before it and of the one after it, empty ones if there is none."""
    before, after = _WORD_BEFORE.search(text, 0, term.start), _WORD_AFTER.match(text, term.end)
    return [
        (term.start, term.end),
        before.span(1) if before else (0, 0),
        after.span(1) if after else (0, 0),
    ]
