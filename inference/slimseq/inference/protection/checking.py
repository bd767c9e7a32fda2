"""Checks that the numbers of a sentence are in its translation, and replaces those that are wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.inference.protection.localization import Numeral, Rendering
from slimseq.inference.protection.spans import Range
from slimseq.inference.protection.typography import SPACES

# The longest unit has fewer.
UNIT_CHARACTERS = 24
_TOKEN_END = re.compile(r"\w{2,40}\Z")
_DIGITS = re.compile(r"[0-9]+(?:[.,:][0-9]+)*")


@dataclass(frozen=True)
class Found:
    """What a translation has of the spans of its sentence.

    Args:
        missing: places of the renderings that have a numeral or a word which is not there.
        absent: the numerals that are not there, in reading order.
        extra: ranges of the numbers in the translation that belong to no span.
        has_words: whether all words are there.
        joined: where numbers of the spans begin that have no space after a word.
    """

    missing: frozenset[int]
    absent: tuple[Numeral, ...]
    extra: tuple[Range, ...]
    has_words: bool
    joined: tuple[int, ...] = ()


def check(output: str, renderings: Sequence[Rendering]) -> Found:
    """Looks for the numerals and the words of spans in a translation.

    Args:
        output: the translation.
        renderings: those of the spans, in reading order.
    """
    taken: list[Range] = []
    places = [(index, numeral) for index, each in enumerate(renderings) for numeral in each.numerals]
    absent: set[int] = set()
    # A long form may contain a short one.
    for place in sorted(range(len(places)), key=lambda place: -max(map(len, places[place][1].forms))):
        numeral = places[place][1]
        forms = sorted(numeral.forms, key=lambda form: (-len(form), form))
        matches = (_place_of(form, numeral.units, output, taken) for form in forms)
        found = next((match for match in matches if match is not None), None)
        if found is None:
            absent.add(place)
        else:
            taken.append(found)
    lowered = output.lower()
    wordless = {
        index
        for index, each in enumerate(renderings)
        if not all(any(word in lowered for word in group) for group in each.words)
    }
    extra = [
        match.span()
        for match in _DIGITS.finditer(output)
        if not any(start < match.end() and match.start() < end for start, end in taken)
    ]
    return Found(
        missing=frozenset(places[place][0] for place in absent) | frozenset(wordless),
        absent=tuple(places[place][1] for place in sorted(absent)),
        extra=tuple(extra),
        has_words=not wordless,
        joined=tuple(sorted(start for start, _ in taken if _is_word(output[max(start - 2, 0) : start]))),
    )


def apart(output: str, found: Found, source: str) -> str:
    """Returns a translation with spaces between words and numbers that have none, as in `über50`.

    What its sentence has in the same way, such as `mp3`, stays.
    """
    pieces, start = [], 0
    for begin in found.joined:
        token = _TOKEN_END.search(output, 0, begin)
        if token and token[0] + output[begin] not in source:
            pieces.append(output[start:begin])
            start = begin
    return " ".join([*pieces, output[start:]])


def replaced(output: str, found: Found) -> str | None:
    """Returns a translation with its wrong numbers replaced by those that are not there, in the same order.

    Returns None if that is not sure: words are not there either, or there are not as many wrong numbers.
    """
    absent, wrong = found.absent, {output[start:end] for start, end in found.extra}
    if len(absent) == len(wrong) == 1:
        # The translation may have it more than once.
        absent *= len(found.extra)
    if not found.has_words or len(absent) != len(found.extra):
        return None
    pieces, start = [], 0
    for (begin, end), numeral in zip(found.extra, absent, strict=True):
        has_unit = not numeral.units or _is_followed(output, end, numeral.units)
        space = " " if output[max(begin - 1, 0) : begin].isalpha() else ""
        pieces += [output[start:begin], space, numeral.localized, "" if has_unit else f" {numeral.unit}"]
        start = end
    return "".join([*pieces, output[start:]])


def _place_of(form: str, units: Sequence[str], output: str, taken: Sequence[Range]) -> Range | None:
    """Returns where a number is in a translation, as a whole number that is not taken, with one of the units."""
    start = output.find(form)
    while start >= 0:
        end = start + len(form)
        is_free = not any(begin < end and start < stop for begin, stop in taken)
        if is_free and is_whole(output, start, end) and (not units or _is_followed(output, end, units)):
            return start, end
        start = output.find(form, start + 1)
    return None


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether the digits at a place are not a part of a longer number."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return not (
        _is_digit(before[-1:])
        or _is_digit(after[:1])
        or (before[-1:] in (".", ",") and _is_digit(before[:1]))
        or (after[:1] in (".", ",") and _is_digit(after[1:]))
    )


def _is_followed(text: str, end: int, units: Sequence[str]) -> bool:
    """Whether one of the units is after a place, as a word."""
    rest = text[end : end + UNIT_CHARACTERS].lstrip(f"{SPACES}-").lower()
    return any(rest.startswith(unit) and not rest[len(unit) : len(unit) + 1].isalpha() for unit in units)


def _is_word(end: str) -> bool:
    """Whether two characters are the end of a word: the letter of a name such as A4 is none."""
    return len(end) == 2 and end.isalpha() and end.islower()


def _is_digit(character: str) -> bool:
    return character.isascii() and character.isdigit()
