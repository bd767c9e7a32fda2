"""The numbers of a summary that its source lacks: a model has made them up, or cut them out of other numbers.

A summary may have a part of a date, such as 2025 of 24.12.2025, and a rounded decimal, such as 48 of 48.3. It may not
have the tail of a decimal alone: where the source has 1.61, both `61 billion` and `Thursday.61 billion` are added. Nor
may it end a sentence after the head of a decimal: `rose 22.` for `rose 22.5`. Time is linear in both texts.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from slimseq.inference.text.numbers import Number, find_matches, groups_of, is_often_word, without_marks

# What may be between a word and the number after it, and the characters before a number that are searched for the word.
_BETWEEN = " .,;:!?()[]\"'$\u20ac\u00a3\u00a5+-\u2013\u2014<>\n\t"
_NEAR = 40
# Decimal signs of any language, and abbreviations that have a dot before a number.
_SIGNS = (".", ",")
_BEFORE_NUMBERS = frozenset({"no", "nos", "nr", "p", "pp", "art", "fig", "vol", "v"})
_TIME = re.compile(r"(?<![\d:])\d{1,2}:\d{2}(?![\d:])")
# Digits between two separators of thousands, and the most digits of a decimal that a summary may round.
_GROUP_DIGITS, _MAX_ROUNDED_DIGITS = 3, 12


def added_numbers(source: str, output: str, decimal: str | None = None) -> list[str]:
    """Returns the numbers of a summary that its source lacks, as the summary writes them.

    `decimal` is the decimal sign of the language. None: not known, so that any part of a number may be one.
    """
    written = [*_find_placed(output, decimal)]
    if not written:
        return []
    known = _KnownNumbers(source, decimal)
    return [each.sign + each.number.written for each in written if not known.has(each)]


class _PlacedNumber(NamedTuple):
    """A number of a text, the word before it in lower case, and the signs directly before and after it.

    `.61` has a sign before it: its head is missing, or the space after a sentence. `22.` has a dot after it: its tail
    is missing, or a sentence ends.
    """

    number: Number
    word: str
    sign: str
    has_dot: bool


def _find_placed(text: str, decimal: str | None) -> Iterator[_PlacedNumber]:
    text = without_marks(text)
    for match in find_matches(text):
        before = text[max(match.start() - _NEAR, 0) : match.start()]
        words = before.rstrip(_BETWEEN).lower().split()
        word = words[-1] if words else ""
        sign = before[-1:] if before.endswith(_SIGNS) and word not in _BEFORE_NUMBERS else ""
        if sign != (decimal or ".") and len(match[0]) != _GROUP_DIGITS:
            # A list such as `dev,32bit`.
            sign = ""
        yield _PlacedNumber(Number(match[0], groups_of(match[0])), word, sign, text.startswith(".", match.end()))


class _KnownNumbers:
    """The numbers of a source, and what a summary may write for them."""

    def __init__(self, source: str, decimal: str | None) -> None:
        self._decimal = decimal
        # The value of a number is its groups of digits, without zeros at the end of a decimal.
        self._values: set[tuple[str, ...]] = set()
        self._values_after_words: set[tuple[str, tuple[str, ...]]] = set()
        # The values of numbers that begin with a sign, such as `.61`.
        self._headless: set[tuple[str, ...]] = set()
        # The numbers that a summary may have of a longer one, such as the year of a date.
        self._parts: set[str] = set()
        # The digits before and after the sign of decimals, with the word before the decimal.
        self._heads_after_words: set[tuple[str, str]] = set()
        self._tails_after_words: set[tuple[str, str]] = set()
        for number, word, sign, _ in _find_placed(source, decimal):
            value = self._value(number)
            self._values.add(value)
            self._values_after_words.add((word, value))
            if sign:
                self._headless.add(value)
            if self._is_decimal(number):
                head, tail = number.groups
                self._parts.add(head)
                self._values |= {*_rounded(head, tail)}
                self._heads_after_words.add((word, head))
                self._tails_after_words.add((word, tail))
            else:
                self._parts.update(number.parts)
        times = (_TIME.match(source, match.start()) for match in find_matches(source))
        self._times = {tuple(time[0].split(":")) for time in times if time}

    def has(self, placed: _PlacedNumber) -> bool:
        """Whether a number of the summary is one of the source, or one that a summary may write for it."""
        number, word, sign, has_dot = placed
        value = self._value(number)
        if (word, value) in self._values_after_words:
            return True
        part = (word, number.groups[0])
        if has_dot and part in self._heads_after_words:
            # The sentence ends within a decimal.
            return False
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
        return is_often_word(number) and part not in self._tails_after_words

    def _is_decimal(self, number: Number) -> bool:
        """Whether a number is surely a decimal, and not a date such as 24.12.2025."""
        if self._decimal is None or len(number.groups) != 2:
            return False
        return number.written[-len(number.groups[1]) - 1] == self._decimal

    def _value(self, number: Number) -> tuple[str, ...]:
        """Returns the groups of a number. A decimal is without zeros at its end: 5.00 is 5."""
        if not self._is_decimal(number):
            return number.groups
        whole, fraction = number.groups[0], number.groups[1].rstrip("0")
        return (whole, fraction) if fraction else (whole,)


def _rounded(head: str, tail: str) -> Iterator[tuple[str, ...]]:
    """Yields a decimal with fewer digits: 1.67 is 1.7 and 2."""
    if len(head) + len(tail) > _MAX_ROUNDED_DIGITS:
        return
    for length in range(len(tail)):
        # One digit more than the result has. It decides whether to round up.
        longer = int(head + tail[: length + 1])
        digits = str((longer + 5) // 10).zfill(length + 1)
        whole, fraction = digits[: len(digits) - length], digits[len(digits) - length :].rstrip("0")
        yield (whole, fraction) if fraction else (whole,)
