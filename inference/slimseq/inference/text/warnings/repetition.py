"""Whether an output repeats itself as no source does: the loops that a search falls into.

Time is linear in the output, and in the source where the output repeats itself.
"""

import re
from collections.abc import Sequence

# From the first script without spaces between words on.
_WITHOUT_SPACES = re.compile("[\u2e80-\U0010ffff]")
# A word, or a character of such a script.
_WORD = re.compile("[\u2e80-\u9fff]|[^\\s\u2e80-\u9fff]+")
# A loop has at most so many words. Longer ones are rare, and each length costs a pass.
MAX_WORDS = 12
# How often one word, and how often several, are in a row in a loop, and the characters of it. "Very, very, very good"
# is none, nor is "la la la la".
MIN_REPEATS_OF_ONE, MIN_REPEATS, MIN_CHARACTERS = 4, 3, 10
# A loop within a word. Words are searched one by one: one search of a long text would hold the interpreter.
_LETTERS_OF_WORD = re.compile(r"[^\W\d_]{1,10000}+")
_LETTERS = re.compile(r"([^\W\d_]{1,10}?)\1{3,}")


def repetition(source: str, output: str) -> tuple[str, int] | None:
    """Returns the words or letters that an output repeats most often in a row, and how often.

    Returns None if it repeats nothing, or the source repeats something as often.
    """
    found = _most_repeated(output)
    if found is None:
        return None
    of_source = _most_repeated(source)
    return None if of_source is not None and of_source[1] >= found[1] else found


def _most_repeated(text: str) -> tuple[str, int] | None:
    text = text.casefold()
    found = [each for each in (_repeated_words(text), _repeated_letters(text)) if each]
    return max(found, key=lambda each: each[1], default=None)


def _repeated_words(text: str) -> tuple[str, int] | None:
    if (text.isascii() or not _WITHOUT_SPACES.search(text)) and _are_distinct(text.split()):
        return None
    spans = [match.span() for match in _WORD.finditer(text)]
    words = [text[start:end] for start, end in spans]
    if _are_distinct(words):
        return None
    best: tuple[str, int] | None = None
    for size in range(1, min(MAX_WORDS, len(words) // 2) + 1):
        run, fewest = 0, MIN_REPEATS if size > 1 else MIN_REPEATS_OF_ONE
        # In a loop of `size` words, each word is the same as `size` words before.
        for index in range(size, len(words)):
            run = run + 1 if words[index] == words[index - size] else 0
            repeats = run // size + 1
            if repeats >= fewest and (best is None or repeats > best[1]):
                loop = text[spans[index - size + 1][0] : spans[index][1]]
                if len(loop) * repeats >= MIN_CHARACTERS:
                    best = loop, repeats
    return best


def _are_distinct(words: Sequence[str]) -> bool:
    """Whether there is no loop, whose words are there several times."""
    return len(words) - len(set(words)) < MIN_REPEATS - 1


def _repeated_letters(text: str) -> tuple[str, int] | None:
    words = (match[0] for match in _LETTERS_OF_WORD.finditer(text))
    long = (word for word in words if len(word) >= MIN_CHARACTERS)
    found = [match for word in long for match in _LETTERS.finditer(word) if len(match[0]) >= MIN_CHARACTERS]
    longest = max(found, key=lambda match: len(match[0]), default=None)
    return None if longest is None else (longest[1], len(longest[0]) // len(longest[1]))
