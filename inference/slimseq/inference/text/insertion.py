"""Has the targets of a glossary's terms in the translation of a sentence.

The sentence is translated as it is. Where a target is not in the translation, the words that depend on the term are
found as those of an inline element are (`alignment`), and the target takes their place: all other words stay. Where no
words can be told apart, the sentence is translated again with the terms as protected spans. docs/decisions/038 has what
was measured.
"""

import math
import re
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.alignment import PLACEHOLDER, AlignedPasses
from slimseq.inference.text.formats.tags import ATOMS, MIN_PHRASE_SHARE, MIN_SHARE, best_run
from slimseq.inference.text.passes import regenerate
from slimseq.inference.text.spans import ProtectedSpan, Range, SpanKind, find_spans
from slimseq.inference.tokenizer import Encoding

# Terms of a sentence that are looked for in its translation. With more, they are protected at once.
MAX_TERMS = 8
# A word of the translation that depends on the word beside the term by more than this share of how it depends on the
# term is a compound of both, such as `Hausschlüssel`.
MAX_SHARED = 0.3
# Shorter words are rarely nouns: what they depend on counts less.
USUAL_LETTERS = 4
_WORD = re.compile(rf"[{ATOMS}]|\w+(?:-\w+)*")
_WORD_BEFORE, _WORD_AFTER = re.compile(r"(\w{3,40})[ -]\Z"), re.compile(r"[ -](\w{3,40})")


def insert_terms(
    text: str, spans: Sequence[ProtectedSpan], source: str, target: str, generator: TextGenerator
) -> AlignedPasses:
    """Translates a sentence in passes, as `regenerate` does, with the targets of its terms in the translation."""
    terms = [span for span in spans if span.kind is SpanKind.TERM]
    others = [span for span in spans if span.kind is not SpanKind.TERM]
    output = yield from regenerate(text, others, source, target)
    missing = _missing(output.text, terms)
    if not missing and not output.alternatives:
        return output
    if output.finish_reason == "length":
        return replace(output, lost=(*output.lost, *(terms[index].target for index in missing)))
    found = []
    for each in (output, *output.alternatives):
        whole = each.text if not _missing(each.text, terms) else None
        if whole is None and len(terms) <= MAX_TERMS:
            whole = yield from _inserted(text, each.text, terms, others, generator)
        if whole is None and each is output:
            # The tokens of all passes count.
            again = yield from regenerate(text, spans, source, target)
            return replace(again, output_tokens=again.output_tokens + output.output_tokens)
        if whole is not None:
            found.append(replace(each, text=whole))
    return replace(found[0], alternatives=tuple(found[1:]))


def _places(output: str, terms: Sequence[ProtectedSpan]) -> list[Range | None]:
    """Returns where the targets of terms are in a translation, as whole words. Each place is that of one term."""
    taken: list[Range] = []
    found: list[Range | None] = [None] * len(terms)
    # A long target may contain a short one.
    for index in sorted(range(len(terms)), key=lambda index: -len(terms[index].target)):
        pattern = rf"(?<!\w){re.escape(terms[index].target)}(?!\w)"
        places = (match.span() for match in re.finditer(pattern, output))
        found[index] = next((place for place in places if not _overlaps(place, taken)), None)
        if (place := found[index]) is not None:
            taken.append(place)
    return found


def _missing(output: str, terms: Sequence[ProtectedSpan]) -> list[int]:
    return [index for index, place in enumerate(_places(output, terms)) if place is None]


def _overlaps(place: Range, taken: Sequence[Range]) -> bool:
    return any(start < place[1] and place[0] < end for start, end in taken)


def _inserted(
    text: str, output: str, terms: Sequence[ProtectedSpan], others: Sequence[ProtectedSpan], generator: TextGenerator
) -> Generator[Sequence[Encoding], Sequence[TextOutput], str | None]:
    """Returns a translation with the missing targets in place of the words of their terms, None if that is not sure."""
    places = _places(output, terms)
    taken = [place for place in places if place is not None]
    taken += [(span.start, span.end) for span in find_spans(output, "")]
    taken += [match.span() for each in others for match in re.finditer(re.escape(each.text), output)]
    words = [match.span() for match in _WORD.finditer(output)]
    forced = generator.force(output)
    if not forced.ids:
        return None
    missing = [terms[index] for index, place in enumerate(places) if place is None]
    masked = [_masks(text, term) for term in missing]
    rows = generator.encode_many([text, *(each for masks in masked for each in masks)])
    all_words, *without = yield [replace(each, output=forced) for each in rows]
    scored = iter(without)
    chosen: list[tuple[Range, str]] = []
    for term, masks in zip(missing, masked, strict=True):
        own, *beside = (_gains(all_words, next(scored), words) for _ in masks)
        own = [-math.inf if _overlaps(word, taken) else gain for word, gain in zip(words, own, strict=True)]
        largest = max(own, default=0.0)
        if largest <= 0 or any(each[own.index(largest)] > MAX_SHARED * largest for each in beside):
            return None
        least = MIN_SHARE if len(term.text.split()) == 1 else MIN_PHRASE_SHARE
        _, first, last = best_run([gain / largest - least for gain in own])
        chosen.append(((words[first][0], words[last][1]), term.target))
        taken.append(chosen[-1][0])
    pieces, start = [], 0
    for (begin, end), written in sorted(chosen):
        pieces += [output[start:begin], written]
        start = end
    return "".join([*pieces, output[start:]])


def _masks(text: str, term: ProtectedSpan) -> list[str]:
    """Returns a sentence with a placeholder in place of the term, and in place of each word beside it."""
    found = [(term.start, term.end)]
    found += [match.span(1) for match in [_WORD_BEFORE.search(text, 0, term.start)] if match]
    found += [match.span(1) for match in [_WORD_AFTER.match(text, term.end)] if match]
    return [text[:start] + PLACEHOLDER + text[end:] for start, end in found]


def _gains(all_words: TextOutput, without: TextOutput, words: Sequence[Range]) -> list[float]:
    """Returns how much each word of a translation depends on what one of two sentences that scored it is without."""
    gains = np.zeros(len(all_words.text))
    for before, after in zip(all_words.scores, without.scores, strict=True):
        gains[before.start : before.end] = before.value - after.value
    return [float(gains[start:end].max()) * min(end - start, USUAL_LETTERS) / USUAL_LETTERS for start, end in words]
