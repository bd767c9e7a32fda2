"""Simulated translators, which do to words and markup what models may do."""

import random
from collections.abc import Callable

from slimseq.inference.text.formats.document import Document, Written

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


def rewritten(document: Document, translate: Translator) -> Written:
    """Returns a document with translated texts."""
    return document.write([translate(text) for text in document.texts])
