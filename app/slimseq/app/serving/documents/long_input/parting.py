"""Divides a document above the context window into parts: one for each topic, such as each of several articles.

A part consists of whole sentences. Of a topic above the window it has the most salient ones, in reading order. So each
topic has its share of the summary. The parts are rows of one request: they are generated together, once, and a stream
sends the summary of one after the other.
"""

import math
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from slimseq.app.serving.documents.long_input.salience import selecting
from slimseq.app.serving.documents.long_input.topics import dividing, words_of
from slimseq.app.serving.documents.segmenter import JOINT, Segment, SegmentedText, whole
from slimseq.app.serving.documents.tokenizing import encoding
from slimseq.inference.generator import TextGenerator
from slimseq.inference.text.sentences import segments

# A text with more characters per available token is split into many pieces at once instead of repeated halves.
CHARACTERS_TO_HALVE = 8
# Shorter sentences, such as headings, are taken together with the next one.
SHORT_CHARACTERS = 20
# So are short ones of a text with more: a bound of the time to divide it into topics, about two seconds.
MAX_SENTENCES = 5000
BLANK_LINE = "\n\n"
_BLANK_LINE = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Sentence:
    """A sentence, or a part of one that exceeds the context window.

    Args:
        text: without the space around it.
        tokens: their number.
        words: its content words.
        is_after_blank_line: whether it begins a paragraph after another one.
    """

    text: str
    tokens: int
    words: list[str]
    is_after_blank_line: bool


def parting(generator: TextGenerator, text: str, prefix: str | None) -> Generator[None, None, SegmentedText]:
    """Divides a text into parts that fit the context window, in small steps.

    Args:
        generator: of the model.
        text: of any length.
        prefix: text before each part. None means the artifact's.

    Returns:
        A segment for each topic, in reading order. A text that fits is one segment as it is. A word that exceeds the
        window is not divided, so the model truncates it.
    """
    [encoded] = yield from encoding(generator, [text], prefix)
    if not encoded.is_truncated:
        return whole(text)
    available = generator.max_input_tokens - generator.encode("", prefix).full_length
    sentences = yield from _sentences(generator, text, available)
    has_blank_lines = any(sentence.is_after_blank_line for sentence in sentences)
    first = yield from dividing(
        [sentence.words for sentence in sentences],
        [sentence.is_after_blank_line or not has_blank_lines for sentence in sentences],
    )
    found: list[Segment] = []
    for start, end in zip(first, [*first[1:], len(sentences)], strict=True):
        topic = sentences[start:end]
        before = BLANK_LINE if topic[0].is_after_blank_line else JOINT
        tokens = [sentence.tokens for sentence in topic]
        if sum(tokens) > available:
            selected = yield from selecting([sentence.words for sentence in topic], tokens, available)
            topic = [topic[index] for index in selected]
        found.append(Segment(before if found else "", " ".join(sentence.text for sentence in topic)))
    return SegmentedText(found, "")


def _sentences(generator: TextGenerator, text: str, available: int) -> Generator[None, None, list[Sentence]]:
    """Splits a text into sentences, and those that exceed the window between words."""
    texts: list[str] = []
    after_blank_lines: set[int] = set()
    shortest = max(SHORT_CHARACTERS, len(text) // MAX_SENTENCES)
    for paragraph in _paragraphs(text):
        if texts:
            after_blank_lines.add(len(texts))
        for sentence in segments(paragraph, "en"):
            if texts and len(texts[-1]) < shortest:
                texts[-1] = f"{texts[-1]} {sentence.strip()}".strip()
            elif stripped := sentence.strip():
                texts.append(stripped)
            yield
    found: list[Sentence] = []
    sizes = yield from _sizes(generator, texts)
    for index, (sentence, size) in enumerate(zip(texts, sizes, strict=True)):
        fitting = [(sentence, size)] if size <= available else (yield from _halved(generator, sentence, available))
        for part, tokens in fitting:
            found.append(Sentence(part, tokens, words_of(part), index in after_blank_lines))
            after_blank_lines.discard(index)
            yield
    return found


def _paragraphs(text: str) -> Iterator[str]:
    """Yields what is between blank lines."""
    start = 0
    for match in _BLANK_LINE.finditer(text):
        yield text[start : match.start()]
        start = match.end()
    yield text[start:]


def _sizes(generator: TextGenerator, texts: list[str]) -> Generator[None, None, list[int]]:
    """Counts the tokens of texts, without special tokens. Of a text above the context window it counts some."""
    specials = generator.encode("", "").full_length
    return [each.full_length - specials for each in (yield from encoding(generator, texts, ""))]


def _halved(generator: TextGenerator, text: str, available: int) -> Generator[None, None, list[tuple[str, int]]]:
    """Splits a text that does not fit between words, until its parts fit. Returns them with their number of tokens."""
    groups = _groups_of_words(text, available)
    if len(groups) < 2:
        # A single word that exceeds the window is truncated.
        return [(text, available)]
    found: list[tuple[str, int]] = []
    sizes = yield from _sizes(generator, groups)
    for group, size in zip(groups, sizes, strict=True):
        found += [(group, size)] if size <= available else (yield from _halved(generator, group, available))
    return found


def _groups_of_words(text: str, available: int) -> list[str]:
    """Splits a text between words: in halves, or if it is very long into pieces that probably fit."""
    words = text.split()
    count = 2 if len(text) < CHARACTERS_TO_HALVE * available else math.ceil(len(text) / available)
    size = math.ceil(len(words) / min(count, max(len(words), 1)))
    return [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
