"""How numbers read as a keyboard types them, without typographic spaces and hyphens, and what no reader sees.

What is found and localized is what an English keyboard types. Each text here has the length of the text that it is made
of, so that a place in one is the same place in the other.
"""

import re

# A plain space, and those that typographers put between groups of digits, and between a number and its unit.
SPACES = " \u00a0\u2007\u2009\u202f"
_FIXED = SPACES[1:]
# From the first script without spaces between words on.
FIRST_WITHOUT_SPACES = "\u2e80"
# The hyphen, the one that does not break, and the dash between the digits of phone numbers.
_TO_HYPHENS = dict.fromkeys((0x2010, 0x2011, 0x2012), "-")
_TO_PLAIN = dict.fromkeys(map(ord, _FIXED), " ")
_TO_SEPARATORS = dict.fromkeys(map(ord, _FIXED), ",") | {ord(","): "."}
_GROUPS = rf"[1-9][0-9]{{0,2}}(?:[{_FIXED}][0-9]{{3}}(?![0-9]))++(?:[.,][0-9]++)?"
# Not the digits of a phone number, which has a plus, a bracket, or a group of another size beside them, and not those
# at the end of a URL.
_BEFORE = rf"(?<![\w.,:+/=&?#])(?<![0-9)][{SPACES}/-])"
_AFTER = rf"(?![.,:/{SPACES}-]?[0-9])"
_GROUPED = re.compile(f"{_BEFORE}{_GROUPS}(?:[-\u2013]{_GROUPS})?{_AFTER}")

# Characters without width: soft hyphens, joiners, marks of direction and of byte order.
WITHOUT_WIDTH = "".join(
    map(chr, (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
)
# These have a meaning after letters of Arabic, Indic and Thai scripts, and in emoji.
_JOINERS = "\u200b\u200c\u200d"
MARKS = re.compile(
    rf"(?<=[\0-\u058f])[{WITHOUT_WIDTH}]+|[{WITHOUT_WIDTH.translate(dict.fromkeys(map(ord, _JOINERS)))}]+"
)


def typed(text: str) -> str:
    """Returns a text with plain hyphens, whose numbers have commas between groups of digits, and a decimal point."""
    if text.isascii():
        return text
    return _GROUPED.sub(lambda match: match[0].translate(_TO_SEPARATORS), text.translate(_TO_HYPHENS))


def with_plain_spaces(text: str) -> str:
    """Returns a text with plain spaces in place of those of fixed width."""
    return text if text.isascii() else text.translate(_TO_PLAIN)


# Characters that stand for a syllable or a word: a translation into Chinese or Japanese has fewer of them.
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTERS_OF_A_WIDE_CHARACTER = 3


def count_characters(text: str) -> int:
    """Returns the length of a text in characters of an alphabet."""
    if text.isascii():
        return len(text)
    return len(text) + (_LETTERS_OF_A_WIDE_CHARACTER - 1) * sum(1 for _ in _WIDE.finditer(text))
