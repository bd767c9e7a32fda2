"""Divides a document above the context window into parts, which are summarized one by one (`long_input: map_reduce`).

A part ends at a blank line. A paragraph above the window is halved between sentences until its parts fit, a sentence
between words. The parts are rows of one request: a stream sends the summary of one after the other.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from slimseq.inference.generator import TextGenerator
from slimseq.inference.text.sentences import JOINT, Check, Segment, SegmentedText, sentences, unchecked, whole

# Shorter paragraphs, such as headings, are part of the next one: about 100 tokens.
MIN_CHARACTERS = 400
BLANK_LINE = "\n\n"
_BLANK_LINE = re.compile(r"\n\s*\n")


def divide(generator: TextGenerator, text: str, prefix: str | None, check: Check = unchecked) -> SegmentedText:
    """Divides a text into parts that fit the context window with a prefix (None: the artifact's), a segment each.

    A text that fits is one segment as it is. A word that exceeds the window is not divided, so the model truncates it.
    """

    def fits(part: str) -> bool:
        check()
        return not generator.encode_many([part], prefix)[0].is_truncated

    if fits(text):
        return whole(text)
    found: list[Segment] = []
    for paragraph in _paragraphs(text):
        before = BLANK_LINE if found else ""
        for part in _parts(paragraph, fits):
            found.append(Segment(before, part))
            before = JOINT
    return SegmentedText(found, "")


def _paragraphs(text: str) -> list[str]:
    """Returns the paragraphs of a text, short ones together with the next."""
    found: list[str] = []
    short: list[str] = []
    for paragraph in filter(None, map(str.strip, _BLANK_LINE.split(text))):
        short.append(paragraph)
        if sum(map(len, short)) >= MIN_CHARACTERS:
            found.append(BLANK_LINE.join(short))
            short = []
    if short:
        # A short paragraph at the end has no next one, so it is part of the one before.
        found[-1:] = [BLANK_LINE.join([*found[-1:], *short])]
    return found


def _parts(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """Yields a paragraph, sentence or word as it is if it fits, else its sentences or words in parts that fit."""
    if fits(text):
        yield text
        return
    units = sentences(text)
    if len(units) < 2:
        units = text.split()
    if len(units) < 2:
        # The model truncates a word that is longer than its window.
        yield text
        return
    yield from _halves(units, fits)


def _halves(units: Sequence[str], fits: Callable[[str], bool]) -> Iterator[str]:
    """Yields parts of several sentences, or of several words, that together do not fit."""
    half = len(units) // 2
    for own in (units[:half], units[half:]):
        if len(own) == 1:
            yield from _parts(own[0], fits)
            continue
        part = JOINT.join(own)
        if fits(part):
            yield part
        else:
            yield from _halves(own, fits)
