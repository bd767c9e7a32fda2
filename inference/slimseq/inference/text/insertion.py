"""Puts the targets of a glossary's terms into the translation of a sentence.

The sentence is translated as it is. Where a target is missing, it takes the place of the words that depend on its term,
which are found as those of an inline element are (`alignment`); all other words stay. Where that is not sure, the
sentence is translated again with its terms as protected spans. docs/decisions/038 has what was measured.
"""

import math
import re
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.alignment import AlignedPasses, score_elements
from slimseq.inference.text.formats.tags import ATOMS, MIN_PHRASE_SHARE, best_run
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES
from slimseq.inference.text.passes import regenerate
from slimseq.inference.text.spans import ProtectedSpan, Range, SpanKind, find_spans, overlaps, replaced
from slimseq.inference.tokenizer import Encoding

# Terms of a sentence that are looked for in its translation. More are protected at once.
MAX_TERMS = 8
# A longer sentence has code or a URL that is longer than what models read.
MAX_CHARACTERS = 2000
# A compound of the term and of the word beside it, such as `Hausschlüssel`, depends on that word: by this share of how
# it depends on the term, and by this share of how the word that depends on it most does. Nouns depend on articles less.
MIN_SHARED, MIN_OF_MOST = 0.4, 0.8
# Shorter words are rarely nouns: what they depend on counts less.
USUAL_LETTERS = 4
_WITHOUT_SPACES = re.compile(f"[{FIRST_WITHOUT_SPACES}-\u9fff]")
_LETTER = f"[^\\W{FIRST_WITHOUT_SPACES}-\u9fff]"
_WORD = re.compile(rf"[{ATOMS}]|\w+(?:-\w+)*")
_WORD_BEFORE, _WORD_AFTER = re.compile(r"(\w{3,40})[ -]\Z"), re.compile(r"[ -](\w{3,40})")


def insert_terms(
    text: str, spans: Sequence[ProtectedSpan], source: str, target: str, generator: TextGenerator
) -> AlignedPasses:
    """Translates a sentence in passes, as `regenerate` does, with the targets of its terms in the translation."""
    terms = [span for span in spans if span.kind is SpanKind.TERM]
    others = [span for span in spans if span.kind is not SpanKind.TERM]
    output = yield from regenerate(text, others, source, target)
    if output.finish_reason == "length":
        places = zip(terms, _places(output.text, terms), strict=True)
        return replace(output, lost=(*output.lost, *(term.target for term, place in places if place is None)))
    found: list[TextOutput] = []
    for each in (output, *output.alternatives):
        written = yield from _inserted(text, each, terms, others, generator)
        if written is not None:
            found.append(replace(each, text=written))
        elif not found:
            # The tokens of all passes count.
            again = yield from regenerate(text, spans, source, target)
            return replace(again, output_tokens=again.output_tokens + output.output_tokens)
    return replace(found[0], alternatives=tuple(found[1:]))


def _places(output: str, terms: Sequence[ProtectedSpan]) -> list[Range | None]:
    """Returns where the target of each term is in a translation, as whole words, each at another place."""
    found: list[Range | None] = [None] * len(terms)
    # A long target may contain a short one.
    for index in sorted(range(len(terms)), key=lambda index: -len(terms[index].target)):
        for match in re.finditer(rf"(?<!{_LETTER}){re.escape(terms[index].target)}(?!{_LETTER})", output):
            if found[index] is None and not overlaps(match.span(), [place for place in found if place]):
                found[index] = match.span()
    return found


def _inserted(
    text: str, output: TextOutput, terms: Sequence[ProtectedSpan], others: Sequence[ProtectedSpan], model: TextGenerator
) -> Generator[Sequence[str | Encoding], Sequence[TextOutput], str | None]:
    """Returns the text of an output with the targets of all terms, None if it is not sure which words are theirs."""
    places = _places(output.text, terms)
    missing = [term for term, place in zip(terms, places, strict=True) if place is None]
    if not missing:
        return output.text
    # Words without spaces between them cannot be told apart.
    is_long = max(len(text), len(output.text)) > MAX_CHARACTERS
    if is_long or len(missing) > MAX_TERMS or _WITHOUT_SPACES.search(output.text):
        return None
    elements = [each for term in missing for each in _with_words_beside(text, term)]
    scored = yield from score_elements(output, text, elements, model)
    gains = np.zeros((len(missing), 3, len(output.text)))
    for score in scored.scores:
        gains[*divmod(score.element, 3), score.start : score.end] = score.value
    taken = [place for place in places if place] + [(span.start, span.end) for span in find_spans(output.text, "")]
    taken += [match.span() for each in others for match in re.finditer(re.escape(each.text), output.text)]
    words = [match.span() for match in _WORD.finditer(output.text)]
    chosen: list[tuple[int, int, str]] = []
    for term, rows in zip(missing, gains, strict=True):
        own, *beside = ([_gain(row, word) for word in words] for row in rows)
        own = [-math.inf if overlaps(word, taken) else gain for gain, word in zip(own, words, strict=True)]
        largest = max(own, default=0.0)
        first = last = own.index(largest) if largest > 0 else 0
        is_shared = any(each[first] > max(MIN_SHARED * largest, MIN_OF_MOST * max(each)) for each in beside)
        if largest <= 0 or is_shared:
            return None
        if len(term.text.split()) > 1:
            _, first, last = best_run([gain / largest - MIN_PHRASE_SHARE for gain in own])
        taken.append((words[first][0], words[last][1]))
        chosen.append((*taken[-1], term.target))
    return replaced(output.text, sorted(chosen))


def _gain(gains: NDArray[np.float64], word: Range) -> float:
    return float(gains[slice(*word)].max()) * min(word[1] - word[0], USUAL_LETTERS)


def _with_words_beside(text: str, term: ProtectedSpan) -> list[Range]:
    """Returns the places of a term, of the word before it and of the one after it, empty ones if there is none."""
    before, after = _WORD_BEFORE.search(text, 0, term.start), _WORD_AFTER.match(text, term.end)
    return [(term.start, term.end), *((match.span(1) if match else (0, 0)) for match in (before, after))]
