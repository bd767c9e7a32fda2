"""The numbers of a text, and which of them another text lacks.

A number is the same in another notation: `1,299.99` is `1.299,99`, `10,000` is `10 000`. Marks without width
are no part of it. Time is linear in the texts.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from slimseq.inference.protection.typography import MARKS, SPACES

# A number without separators, or what is between separators.
_DIGITS = re.compile(r"\d+")
# Between the digits of one number. Those of thousands alone join groups of three digits.
_OF_THOUSANDS = frozenset(f"'\u2019{SPACES}")
_SEPARATORS = _OF_THOUSANDS | {".", ","}
_GROUP = 3
# A time of twelve hours: 3 p.m. may be 15 in the output.
_TWELVE_HOURS = re.compile(r"\d\s?[ap]\.?\s?m\b", re.IGNORECASE)
HALF_A_DAY = 12
# The minutes of 4:00, which is `16 Uhr` in German.
FULL_HOUR = "00"


@dataclass(frozen=True)
class Number:
    """A number as it is written, and its groups of digits without the separators of thousands.

    `1,299.99` and `1.299,99` have the groups 1299 and 99.
    """

    written: str
    groups: tuple[str, ...]


def numbers(text: str) -> Iterator[Number]:
    """Yields the numbers of a text, in any script's digits."""
    if not text.isascii():
        text = MARKS.sub("", text)
    start, end = 0, 0
    groups: list[str] = []
    separators: list[str] = []
    for match in _DIGITS.finditer(text):
        between = text[end : match.start()]
        if groups and _continues(groups, separators, between, match[0]):
            separators.append(between)
            groups.append(match[0])
        else:
            if groups:
                yield Number(text[start:end], _normalised(groups, separators))
            start, groups, separators = match.start(), [match[0]], []
        end = match.end()
    if groups:
        yield Number(text[start:end], _normalised(groups, separators))


def _continues(groups: Sequence[str], separators: Sequence[str], between: str, digits: str) -> bool:
    """Whether digits belong to the number before them."""
    if between not in _SEPARATORS:
        return False
    if between not in _OF_THOUSANDS:
        return True
    return len(digits) == _GROUP and len(groups[0]) <= _GROUP and all(each == between for each in separators[-1:])


def _normalised(groups: Sequence[str], separators: Sequence[str]) -> tuple[str, ...]:
    """Returns groups of digits without the separators of thousands and leading zeros."""
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


def lost_numbers(source: str, output: str, words: Mapping[str, Sequence[str]] | None) -> list[str]:
    """Returns the numbers of a source that its translation lacks, as they are written in the source.

    Not lost: a number in another notation, the parts of a date or time in another order, an hour of the afternoon
    counted on from noon, the minutes of a full hour, and a number written as a word.

    Args:
        source: the source.
        output: its translation.
        words: how words begin that mean a number, by number. None: they are not known, and a number up to twelve may
            be a word.
    """
    wanted = list(numbers(source))
    if not wanted:
        return []
    found = Counter(number.groups for number in numbers(output))
    missing: list[Number] = []
    for number in wanted:
        if found[number.groups]:
            found[number.groups] -= 1
        else:
            missing.append(number)
    if not missing:
        return []
    parts = Counter(group.lstrip("0") or "0" for groups in found.elements() for group in groups)
    has_hours = _TWELVE_HOURS.search(source) is not None
    lowered = output.lower()
    return [
        number.written
        for number in missing
        if not (
            number.written == FULL_HOUR
            or _taken(number, parts)
            or (has_hours and _is_later_hour(number, parts))
            or _is_word(number, lowered, words)
        )
    ]


def added_numbers(source: str, output: str) -> list[str]:
    """Returns the numbers of a summary that its source lacks, as they are written in the summary.

    A small number may be a word of the source.
    """
    written = list(numbers(output))
    if not written:
        return []
    known: set[tuple[str, ...]] = set()
    parts: set[str] = set()
    for number in numbers(source):
        known.add(number.groups)
        parts.update(group.lstrip("0") or "0" for group in number.groups)
    return [
        number.written
        for number in written
        if number.groups not in known
        and not all((group.lstrip("0") or "0") in parts for group in number.groups)
        and not is_small(number.groups)
    ]


def is_small(groups: tuple[str, ...]) -> bool:
    """Whether a number is a whole one up to twelve, which is often written as a word."""
    return len(groups) == 1 and len(groups[0]) <= 2 and int(groups[0]) <= HALF_A_DAY


def _taken(number: Number, parts: Counter[str]) -> bool:
    """Takes the parts of a number out of those that are left, if all are there."""
    wanted = Counter(group.lstrip("0") or "0" for group in number.groups)
    # Not `wanted <= parts` and `parts -= wanted`, which go through all parts.
    if any(parts[each] < count for each, count in wanted.items()):
        return False
    parts.subtract(wanted)
    return True


def _is_later_hour(number: Number, parts: Counter[str]) -> bool:
    if not is_small(number.groups[:1]):
        return False
    hour = int(number.groups[0])
    later = ("0", "24") if hour == HALF_A_DAY else (str(hour + HALF_A_DAY),)
    return any(_taken(Number("", (each, *number.groups[1:])), parts) for each in later)


def _is_word(number: Number, output: str, words: Mapping[str, Sequence[str]] | None) -> bool:
    if words is None:
        return is_small(number.groups)
    if len(number.groups) > 1:
        return False
    return any(re.search(rf"\b{each}", output) for each in words.get(number.groups[0], ()))
