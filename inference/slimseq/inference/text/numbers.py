"""The numbers of a text: which they are, whatever their notation, and which of them another text lacks.

`find_numbers` yields them. A number is the same in another notation: `1,299.99` is `1.299,99`, `10,000` is `10 000`.
Marks without width are no part of a number. `lost_numbers` compares a source with its translation. `notation` knows how
a language writes numbers.

`typed` writes numbers as they are typed on an English keyboard, without typographic spaces and hyphens. Its result has
the length of its text, so that a place in one is the same place in the other. Time is linear in the texts.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Digits with single dots and commas between them.
NUMERAL = r"[0-9]++(?:[.,][0-9]++)*+"
# A plain space, and those that typographers put between groups of digits, and between a number and its unit.
SPACES = " \u00a0\u2007\u2009\u202f"
_TYPOGRAPHIC_SPACES = SPACES[1:]
# The first character of the scripts without spaces between words, such as Chinese.
FIRST_WITHOUT_SPACES = "\u2e80"
# The hyphen, the one that does not break, and the dash between the digits of phone numbers.
_HYPHENS = "\u2010\u2011\u2012"
# How `typed` writes separators: with commas between thousands, and with a point before decimals.
_TO_SEPARATORS = dict.fromkeys(map(ord, SPACES), ",") | {ord(","): "."}
# A number such as `10 000` or `10 000,5`. The braces are for the spaces between thousands.
_GROUPS = r"[1-9][0-9]{{0,2}}(?:[{}][0-9]{{3}}(?![0-9]))++(?:[.,][0-9]++)?"
# What may not be beside grouped digits: the plus, a bracket or another group of a phone number, or the rest of a URL.
_BEFORE_GROUPS = rf"(?<![\w.,:+/=&?#])(?<![0-9)][{SPACES}/-])"
_AFTER_GROUPS = rf"(?![.,:/{SPACES}-]?[0-9])"


def _grouped_numbers(spaces: str) -> re.Pattern[str]:
    """Returns a pattern of numbers, or ranges of two numbers, that have these spaces between thousands."""
    groups = _GROUPS.format(spaces)
    return re.compile(f"{_BEFORE_GROUPS}{groups}(?:[-\u2013]{groups})?{_AFTER_GROUPS}")


# By whether a plain space separates thousands, as in French and Russian.
_GROUPED_NUMBERS = {False: _grouped_numbers(_TYPOGRAPHIC_SPACES), True: _grouped_numbers(SPACES)}

# Characters without width: soft hyphen, joiners, marks of direction and of byte order.
WITHOUT_WIDTH = "".join(
    map(chr, (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
)
# Joiners have a meaning after letters of Arabic, Indic and Thai scripts, and in emoji.
_JOINERS = "\u200b\u200c\u200d"
_MARKS = re.compile(f"[{WITHOUT_WIDTH}]+")
# Marks to leave out: joiners only after the characters before U+058F, which are Latin, Greek, Cyrillic and Armenian.
_NEEDLESS_MARKS = re.compile(
    rf"(?<=[\0-\u058f])[{WITHOUT_WIDTH}]+|[{WITHOUT_WIDTH.translate(dict.fromkeys(map(ord, _JOINERS)))}]+"
)

# Characters that separate nothing but thousands: they join groups of three digits. Dots and commas join any digits.
_OF_THOUSANDS = f"'\u2019{SPACES}"
# Groups of thousands such as `1'299.99`, else digits with dots and commas.
_NUMBER = re.compile(rf"\d{{1,3}}([{_OF_THOUSANDS}])\d{{3}}(?!\d)(?:\1\d{{3}}(?!\d))*+(?:[.,]\d+)*+|\d++(?:[.,]\d+)*+")
# Where a number may start or end: no digits of the same number are beside it.
_START = re.compile(r"(?<![0-9])(?<![0-9][.,])")
_END = re.compile(r"(?![.,]?[0-9])")
_DIGIT = re.compile(r"\d")
_SEPARATOR = re.compile(r"\D")
# Digits between two separators of thousands.
_GROUP_DIGITS = 3
# Hours.
HALF_A_DAY = 12
# A time of twelve hours: 3 p.m. in one text may be 15 in the other.
_TWELVE_HOURS = re.compile(r"\d\s?[ap]\.?\s?m\b", re.IGNORECASE)
# The minutes of 4:00, which is `16 Uhr` in German.
_FULL_HOUR = "00"
# Numbers that are often written as words.
_OFTEN_WORDS = frozenset(map(str, (*range(13), *range(20, 101, 10), 1000)))


def typed(text: str, *, is_spaced: bool = False) -> str:
    """Returns a text with plain hyphens, and with commas for the spaces within numbers.

    `is_spaced`: plain spaces separate thousands too, as in French.
    """
    if text.isascii() and not is_spaced:
        return text
    pattern = _GROUPED_NUMBERS[is_spaced]
    return pattern.sub(lambda match: match[0].translate(_TO_SEPARATORS), _replaced(text, _HYPHENS, "-"))


def with_plain_spaces(text: str) -> str:
    return text if text.isascii() else _replaced(text, _TYPOGRAPHIC_SPACES, " ")


def _replaced(text: str, characters: str, by: str) -> str:
    # `translate` would hold the interpreter for 50 ms where a text has a million characters.
    for character in characters:
        text = text.replace(character, by)
    return text


@dataclass(frozen=True)
class Number:
    """A number as it is written, and its groups of digits without separators of thousands and leading zeros.

    `1,299.99` and `1.299,99` have the groups 1299 and 99. Numbers with equal groups are the same.
    """

    written: str
    groups: tuple[str, ...]

    @property
    def parts(self) -> list[str]:
        """The groups without leading zeros, such as the day, month and year of a date."""
        return [group.lstrip("0") or "0" for group in self.groups]


def find_marks(text: str) -> Iterator[tuple[int, int]]:
    """Yields the places, starts and ends, of marks without width that can be left out."""
    if text.isascii():
        return
    # Marks are found first: to look behind each character of a long text would hold the interpreter.
    for marks in _MARKS.finditer(text):
        for match in _NEEDLESS_MARKS.finditer(text, *marks.span()):
            yield match.span()


def without_marks(text: str) -> str:
    """Returns a text without marks that have no width."""
    # To substitute a million of them in one call would hold the interpreter.
    pieces: list[str] = []
    position = 0
    for start, end in find_marks(text):
        pieces.append(text[position:start])
        position = end
    return "".join([*pieces, text[position:]]) if pieces else text


def find_numbers(text: str) -> Iterator[Number]:
    """Yields the numbers of a text, in any script's digits."""
    for match in find_matches(without_marks(text)):
        yield Number(match[0], groups_of(match[0]))


def find_matches(text: str) -> Iterator[re.Match[str]]:
    """Yields what `_NUMBER` finds. Where a million characters have no number, it takes a quarter of the time."""
    place = 0
    while (digit := _DIGIT.search(text, place)) is not None:
        match = _NUMBER.match(text, digit.start())
        assert match is not None
        yield match
        place = match.end()


def find_places(text: str) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    """Returns where each number of a text is, by its groups of digits."""
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for match in find_matches(text):
        places.setdefault(groups_of(match[0]), []).append(match.span())
    return places


def groups_of(written: str) -> tuple[str, ...]:
    """Returns the groups of digits of a number. Those between separators of thousands are joined."""
    groups, separators = _SEPARATOR.split(written), _SEPARATOR.findall(written)
    # How many groups after the first group are its thousands.
    joined = 0
    if len(groups[0]) <= _GROUP_DIGITS and groups[0] != "0":
        for separator, group in zip(separators, groups[1:], strict=True):
            if separator != separators[0] or len(group) != _GROUP_DIGITS:
                break
            joined += 1
    # If the same separator follows, as in 1.234.5, it does not separate thousands.
    if joined < len(separators) and separators[joined] == separators[0]:
        joined = 0
    whole = "".join(map(_ascii, groups[: joined + 1])).lstrip("0") or "0"
    return whole, *map(_ascii, groups[joined + 1 :])


def _ascii(digits: str) -> str:
    """Returns digits of any script, such as Arabic, as ASCII digits."""
    return digits if digits.isascii() else "".join(str(unicodedata.decimal(each)) for each in digits)


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether the digits at a place are not a part of a longer number."""
    return _START.match(text, start) is not None and _END.match(text, end) is not None


def lost_numbers(source: str, output: str) -> list[str]:
    """Returns the numbers of a source that its translation lacks, as they are written in the source.

    Not lost: a number in another notation, the parts of a date or time in another order, an hour of the afternoon
    counted on from noon or not, the minutes of a full hour, and a number that is often written as a word.
    """
    wanted = list(find_numbers(source))
    found = Counter(number.groups for number in find_numbers(output)) if wanted else Counter()
    missing: list[Number] = []
    for number in wanted:
        if found[number.groups]:
            found[number.groups] -= 1
        else:
            missing.append(number)
    if not missing:
        return []
    # The numbers of the output that are none of the source, in parts.
    left = Counter(part for groups in found.elements() for part in Number("", groups).parts)
    has_hours = any(map(_TWELVE_HOURS.search, (source, output)))
    lost: list[str] = []
    for number in missing:
        if number.written == _FULL_HOUR or _take(number.parts, left):
            continue
        if has_hours and _take_other_hour(number.parts, left):
            continue
        if not is_often_word(number):
            lost.append(number.written)
    return lost


def is_often_word(number: Number) -> bool:
    """Whether a number is often written as a word, such as twelve."""
    return len(number.groups) == 1 and number.groups[0] in _OFTEN_WORDS


def _take(parts: Sequence[str], left: Counter[str]) -> bool:
    """Takes the parts of a number out of those that are left, if all are there."""
    wanted = Counter(parts)
    # Not `wanted <= left` and `left -= wanted`, which would go through all parts in `left`.
    if any(left[each] < count for each, count in wanted.items()):
        return False
    left.subtract(wanted)
    return True


def _take_other_hour(parts: Sequence[str], left: Counter[str]) -> bool:
    """Takes a time with its hour counted in the other way: 3 p.m. is 15, and 15 is 3 p.m."""
    hour, *others = parts
    if len(hour) > 2 or int(hour) > 2 * HALF_A_DAY:
        return False
    other = (int(hour) + HALF_A_DAY) % (2 * HALF_A_DAY)
    if _take([str(other), *others], left):
        return True
    # Midnight may be written as 24.
    return other == 0 and _take(["24", *others], left)
