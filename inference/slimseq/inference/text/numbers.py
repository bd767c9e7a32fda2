"""The numbers of a text: which they are, whatever their notation, and which of them another text lacks.

`typed` writes numbers as an English keyboard does, without typographic spaces and hyphens. Its result has the length of
its text, so that a place in one is the same place in the other.

A number is the same in another notation: `1,299.99` is `1.299,99`, `10,000` is `10 000`. Marks without width are no
part of it. `notation` knows how a language writes numbers. Time is linear in the texts.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# A plain space, and those that typographers put between groups of digits, and between a number and its unit.
SPACES = " \u00a0\u2007\u2009\u202f"
_FIXED = SPACES[1:]
# From the first script without spaces between words on.
FIRST_WITHOUT_SPACES = "\u2e80"
# The hyphen, the one that does not break, and the dash between the digits of phone numbers.
_TO_HYPHENS = dict.fromkeys((0x2010, 0x2011, 0x2012), "-")
_TO_PLAIN = dict.fromkeys(map(ord, _FIXED), " ")
_TO_SEPARATORS = dict.fromkeys(map(ord, SPACES), ",") | {ord(","): "."}
_GROUPS = r"[1-9][0-9]{{0,2}}(?:[{}][0-9]{{3}}(?![0-9]))++(?:[.,][0-9]++)?"
# Not the digits of a phone number, which has a plus, a bracket, or a group of another size beside them, and not those
# at the end of a URL.
_BEFORE_GROUPS = rf"(?<![\w.,:+/=&?#])(?<![0-9)][{SPACES}/-])"
_AFTER_GROUPS = rf"(?![.,:/{SPACES}-]?[0-9])"
# By whether a plain space is a separator, as in French and Russian.
_GROUPED_NUMBERS = {
    is_spaced: re.compile(f"{_BEFORE_GROUPS}{groups}(?:[-\u2013]{groups})?{_AFTER_GROUPS}")
    for is_spaced, groups in ((False, _GROUPS.format(_FIXED)), (True, _GROUPS.format(SPACES)))
}

# Characters without width: soft hyphens, joiners, marks of direction and of byte order.
WITHOUT_WIDTH = "".join(
    map(chr, (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
)
# These have a meaning after letters of Arabic, Indic and Thai scripts, and in emoji.
_JOINERS = "\u200b\u200c\u200d"
MARKS = re.compile(
    rf"(?<=[\0-\u058f])[{WITHOUT_WIDTH}]+|[{WITHOUT_WIDTH.translate(dict.fromkeys(map(ord, _JOINERS)))}]+"
)

# Separators of thousands alone, which join groups of three digits. Dots and commas join any digits.
_OF_THOUSANDS = f"'\u2019{SPACES}"
_NUMBER = re.compile(rf"\d{{1,3}}([{_OF_THOUSANDS}])\d{{3}}(?!\d)(?:\1\d{{3}}(?!\d))*+(?:[.,]\d+)*+|\d++(?:[.,]\d+)*+")
_START, _END = re.compile(r"(?<![0-9])(?<![0-9][.,])"), re.compile(r"(?![.,]?[0-9])")
_DIGIT, _SEPARATOR = re.compile(r"\d"), re.compile(r"\D")
_GROUP = 3
HALF_A_DAY = 12
# A time of twelve hours: 3 p.m. may be 15 on the other side.
_TWELVE_HOURS = re.compile(r"\d\s?[ap]\.?\s?m\b", re.IGNORECASE)
# The minutes of 4:00, which is `16 Uhr` in German.
_FULL_HOUR = "00"
# What may be between a word and the number after it; the signs that may be before the last digits of a number; words
# that have a dot before a number; and the characters before a number that are looked at.
_BETWEEN = " .,;:!?()[]\"'$\u20ac\u00a3\u00a5+-\u2013\u2014<>\n\t"
_SIGNS = (".", ",")
_BEFORE_NUMBERS = frozenset({"no", "nos", "nr", "p", "pp", "art", "fig", "vol", "v"})
_NEAR = 40
_TIME = re.compile(r"(?<![\d:])\d{1,2}:\d{2}(?![\d:])")
# Numbers that are often written as words.
_OFTEN_WORDS = frozenset(map(str, (*range(13), *range(20, 101, 10), 1000)))


def typed(text: str, *, is_spaced: bool = False) -> str:
    """Returns a text with plain hyphens, and numbers with commas for spaces (`is_spaced`: plain ones too)."""
    if text.isascii() and not is_spaced:
        return text
    pattern = _GROUPED_NUMBERS[is_spaced]
    return pattern.sub(lambda match: match[0].translate(_TO_SEPARATORS), text.translate(_TO_HYPHENS))


def with_plain_spaces(text: str) -> str:
    return text if text.isascii() else text.translate(_TO_PLAIN)


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


def without_marks(text: str) -> str:
    """Returns a text without marks that have no width."""
    if text.isascii() or not any(mark in text for mark in WITHOUT_WIDTH):
        return text
    return MARKS.sub("", text)


def find_numbers(text: str) -> Iterator[Number]:
    """Yields the numbers of a text, in any script's digits."""
    for match in _matches(without_marks(text)):
        yield Number(match[0], groups_of(match[0]))


def _matches(text: str) -> Iterator[re.Match[str]]:
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
    for match in _matches(text):
        places.setdefault(groups_of(match[0]), []).append(match.span())
    return places


def groups_of(written: str) -> tuple[str, ...]:
    groups, separators = _SEPARATOR.split(written), _SEPARATOR.findall(written)
    joined = 0
    if len(groups[0]) <= _GROUP and groups[0] != "0":
        while joined < len(separators) and separators[joined] == separators[0] and len(groups[joined + 1]) == _GROUP:
            joined += 1
    # 1.234.5 is no number with separators of thousands.
    if joined < len(separators) and separators[joined] == separators[0]:
        joined = 0
    whole = "".join(map(_ascii, groups[: joined + 1])).lstrip("0") or "0"
    return whole, *map(_ascii, groups[joined + 1 :])


def _ascii(digits: str) -> str:
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
    left = Counter(part for groups in found.elements() for part in Number("", groups).parts)
    has_hours = any(map(_TWELVE_HOURS.search, (source, output)))
    return [
        number.written
        for number in missing
        if not (
            number.written == _FULL_HOUR
            or _take(number.parts, left)
            or (has_hours and _take_other_hour(number.parts, left))
            or _is_often_word(number)
        )
    ]


def added_numbers(source: str, output: str, decimal: str | None = None) -> list[str]:
    """Returns the numbers of a summary that its source lacks, as the summary writes them.

    A part of a date is a number of its own: 2025 of 24.12.2025. A part of a decimal is none: where the source has 1.61,
    both `61 billion` and `Thursday.61 billion` are added. `decimal` is the decimal sign of the language. None: not
    known, so that any part may be a number.
    """
    written = [*_in_place(output)]
    if not written:
        return []
    known = _KnownNumbers(source, decimal)
    return [each.sign + each.number.written for each in written if not known.has(each)]


class _Placed(NamedTuple):
    """A number of a text, the word before it in lower case, and the sign that is directly before it, without a digit.

    `.61` has a sign: its head is missing, or the space after a sentence.
    """

    number: Number
    word: str
    sign: str


def _in_place(text: str) -> Iterator[_Placed]:
    text = without_marks(text)
    for match in _matches(text):
        before = text[max(match.start() - _NEAR, 0) : match.start()]
        words = before.rstrip(_BETWEEN).lower().split()
        word = words[-1] if words else ""
        sign = before[-1:] if before.endswith(_SIGNS) and word not in _BEFORE_NUMBERS else ""
        yield _Placed(Number(match[0], groups_of(match[0])), word, sign)


class _KnownNumbers:
    """The numbers of a source, and what a summary may write for them."""

    def __init__(self, source: str, decimal: str | None) -> None:
        self._decimal = decimal
        self._values: set[tuple[str, ...]] = set()
        self._values_after_words: set[tuple[str, tuple[str, ...]]] = set()
        self._headless: set[tuple[str, ...]] = set()
        self._parts: set[str] = set()
        # The parts of decimals, each with the word before the decimal.
        self._parts_of_decimals: set[tuple[str, str]] = set()
        for number, word, sign in _in_place(source):
            value = self._value(number)
            self._values.add(value)
            self._values_after_words.add((word, value))
            if sign:
                self._headless.add(value)
            if self._is_decimal(number):
                self._parts_of_decimals |= {(word, part) for part in number.groups}
            else:
                self._parts.update(number.parts)
        self._times = {tuple(match[0].split(":")) for match in _TIME.finditer(source)}

    def has(self, placed: _Placed) -> bool:
        number, word, sign = placed
        value = self._value(number)
        if (word, value) in self._values_after_words:
            return True
        if sign and len(value) == 1:
            # 0.61 is the same as .61.
            return value in self._headless or ("0", *value) in self._values
        if value in self._values:
            return True
        if self._is_decimal(number):
            # 15.30 may be a time.
            return number.groups in self._times or (value[0] == "0" and value[1:] in self._headless)
        if self._parts.issuperset(number.parts):
            return True
        return _is_often_word(number) and (word, number.groups[0]) not in self._parts_of_decimals

    def _is_decimal(self, number: Number) -> bool:
        """Whether a number is surely a decimal, and not a date such as 24.12.2025."""
        if self._decimal is None or len(number.groups) != 2:
            return False
        return number.written[-len(number.groups[1]) - 1] == self._decimal

    def _value(self, number: Number) -> tuple[str, ...]:
        """Returns the groups of a number, those of a decimal without zeros at its end: 5.00 is 5."""
        if not self._is_decimal(number):
            return number.groups
        whole, fraction = number.groups[0], number.groups[1].rstrip("0")
        return (whole, fraction) if fraction else (whole,)


def _is_often_word(number: Number) -> bool:
    return len(number.groups) == 1 and number.groups[0] in _OFTEN_WORDS


def _take(parts: Sequence[str], left: Counter[str]) -> bool:
    """Takes the parts of a number out of those that are left, if all are there."""
    wanted = Counter(parts)
    # Not `wanted <= left` and `left -= wanted`, which go through all that are left.
    if any(left[each] < count for each, count in wanted.items()):
        return False
    left.subtract(wanted)
    return True


def _take_other_hour(parts: Sequence[str], left: Counter[str]) -> bool:
    hour, *others = parts
    if len(hour) > 2 or int(hour) > 2 * HALF_A_DAY:
        return False
    other = (int(hour) + HALF_A_DAY) % (2 * HALF_A_DAY)
    return any(_take([each, *others], left) for each in (str(other), *(("24",) if other == 0 else ())))
