"""Finds the names of a source that its output has misspelled, such as `Z'rich` for `Zürich`.

The output may have a name in another form, such as `Zurique`, `Zurich` or `Zuerich`, and need not have it at all: only
what is surely wrong is found. Time is linear in the source and the output, for the few names that are compared.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence

from slimseq.inference.text.glossary import COMBINING
from slimseq.inference.text.names import PART
from slimseq.inference.text.spans import ProtectedSpan, SpanKind

# A misspelled name is a word of the output with the ASCII letters of the name, and at most so many characters for each
# of its other letters. With fewer ASCII letters it may be any word.
MAX_FOR_A_LETTER, MIN_ASCII_LETTERS = 2, 3
# Names of a source that are compared with its output, and the characters of each.
MAX_NAMES, MAX_NAME_CHARACTERS = 50, 40
_LETTER_BEYOND_ASCII = re.compile(f"[^\\W\\d_a-zA-Z\u00b2\u00b3\u00b9]|[{COMBINING}]")
_BEYOND_ASCII = re.compile("[^\\0-\\x7f]+")
_AROUND_WORDS = '.,;:!?()[]{}"\u201c\u201d\u201e\u00ab\u00bb'
# How letters are written without accents where Unicode does not say it, and how they are written with two letters.
_PLAIN = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ə": "e", "ħ": "h"}
_PLAIN |= {"\N{LATIN SMALL LETTER DOTLESS I}": "i", "\N{MODIFIER LETTER TURNED COMMA}": ""}
_WITH_TWO_LETTERS = {"ø": "oe", "å": "aa", "ä": "ae", "ö": "oe", "ü": "ue", "ð": "dh", "đ": "dj"}


def misspelled_names(source: str, output: str) -> list[ProtectedSpan]:
    """Returns words of a source with letters beyond ASCII that the output has with other letters, in reading order."""
    if source.isascii():
        return []
    names: dict[str, ProtectedSpan] = {}
    for match in PART.finditer(source):
        name = match[0]
        if not _LETTER_BEYOND_ASCII.search(name) or len(name) > MAX_NAME_CHARACTERS or name in names or name in output:
            continue
        names[name] = ProtectedSpan(*match.span(), SpanKind.WORD, name)
        if len(names) == MAX_NAMES:
            break
    if not names:
        return []
    words = {word.strip(_AROUND_WORDS).rstrip("-") for word in {*output.split()} - {*source.split()}}
    words |= {part for word in words for part in word.split("-")}
    return [span for name, span in names.items() if _is_misspelled(name, words)]


def lost_names(names: Sequence[ProtectedSpan], output: str) -> list[str]:
    """Returns the names among some that a model cannot write and whose output has none of their spellings."""
    written = output.casefold()
    return [
        name.text
        for name in names[:MAX_NAMES]
        if name.kind is SpanKind.WORD
        and name.text[0].isupper()
        and not any(spelling in written for spelling in _spellings(name.text))
    ]


def _is_misspelled(name: str, words: Collection[str]) -> bool:
    letters = unicodedata.normalize("NFC", name)
    # The ASCII letters between the others. A run of other letters is between two of these.
    fragments = _BEYOND_ASCII.split(letters)
    gaps = [MAX_FOR_A_LETTER * len(run) for run in _BEYOND_ASCII.findall(letters)]
    if sum(map(len, fragments)) < MIN_ASCII_LETTERS:
        return False
    spellings = _spellings(name)
    for word in words:
        if not _has_fragments(word, fragments, gaps) or word.casefold() in spellings:
            continue
        # A word in small letters may be translated by a similar one, as `über` by `aber`.
        if letters[0].isupper() or not word.isalpha():
            return True
    return False


def _has_fragments(word: str, fragments: Sequence[str], gaps: Sequence[int]) -> bool:
    """Whether a word has the fragments in this order, with no more between them than the gaps."""
    if not gaps:
        return False
    first, last = fragments[0], fragments[-1]
    if not (word.startswith(first) and word.endswith(last)):
        return False
    place = len(first)
    for fragment, gap in zip(fragments[1:-1], gaps, strict=False):
        place = word.find(fragment, place, place + gap + len(fragment))
        if place < 0:
            return False
        place += len(fragment)
    return 0 <= len(word) - len(last) - place <= gaps[-1]


def _spellings(name: str) -> set[str]:
    """Returns a name as it is, without accents, and with two letters for those that are often written so."""
    folded = unicodedata.normalize("NFC", name).casefold()
    plain = [_without_accent(letter) for letter in folded]
    with_two = [_WITH_TWO_LETTERS.get(letter, other) for letter, other in zip(folded, plain, strict=True)]
    return {folded, "".join(plain), "".join(with_two)}


def _without_accent(letter: str) -> str:
    if unicodedata.combining(letter):
        return ""
    return _PLAIN.get(letter, unicodedata.normalize("NFD", letter)[0])
