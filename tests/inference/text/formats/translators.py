"""Simulated translators, which do to words and markup what models may do."""

import random
from collections.abc import Callable
from typing import Any

from slimseq.inference.generator import Score, TextOutput
from slimseq.inference.text.formats.document import Document, Written
from slimseq.inference.text.formats.passages import Passage

Translator = Callable[[str], str]
# What a text must not be able to say in markup.
STRAY = (
    *("*", "**", "_", "`", "<", "<b>", "</p>", "&", "&lt;", "|", "[", "](x)", "!", "#", "~~", "\\", "- ", "1. ", "> "),
)


def upper(text: str) -> str:
    """Shouts."""
    return text.upper()


def backwards(text: str) -> str:
    """Turns the order of words around."""
    return " ".join(reversed(text.split()))


def careless(text: str) -> str:
    """Loses, moves and adds words, and adds what means something in markup."""
    drawn = random.Random(text)
    words = text.split()
    drawn.shuffle(words)
    words = words[: drawn.randint(1, len(words))] if words else words
    for _ in range(drawn.randint(0, 4)):
        stray = drawn.choice(STRAY)
        place = drawn.randint(0, len(words))
        words.insert(place, drawn.choice([stray, f"{stray}Wort", f"Wort{stray}", f"{stray}Wort{stray}"]))
    return drawn.choice([" ", " ", "  ", "\n"]).join(words)


def silent(text: str) -> str:
    """Says nothing."""
    return ""


ALL = (upper, backwards, careless, silent)


def output(text: str, *found: str) -> TextOutput:
    """Returns an output, and the first words in it that belong to each inline element of its source, in order."""
    starts = [(text.find(words), words, element) for element, words in enumerate(found)]
    scores = [
        Score(start, start + len(words), 1.0, element) for start, words, element in starts if words and start >= 0
    ]
    return TextOutput(text, "eos", input_tokens=1, output_tokens=1, truncated=False, scores=tuple(scores))


def rewritten(document: Document, translate: Translator) -> Written:
    """Returns a document with translated texts, in which elements are where they were."""
    passages = [passage for section in document.sections for passage in section.passages]
    return document.write([_aligned(passage, translate(passage.text)) for passage in passages])


def _aligned(passage: Passage[Any], text: str) -> TextOutput:
    scores = [Score(element.start, element.end, 1.0, index) for index, element in enumerate(passage.elements_to_find)]
    return TextOutput(text, "eos", input_tokens=1, output_tokens=1, truncated=False, scores=tuple(scores))
