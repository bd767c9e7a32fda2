"""What a translation has of the spans of its sentence that had no placeholder: numbers, their units, names.

A number that is wrong is replaced where it is sure which one it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.inference.text.localization import Numeral, Rendering
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES, SPACES, is_whole
from slimseq.inference.text.spans import Range, overlaps, replaced

# The longest unit has fewer.
UNIT_CHARACTERS = 24
# An inflected unit has at most so many letters more. Shorter units than these are not inflected or cut.
MAX_ENDING, MIN_INFLECTED = 2, 4
_TOKEN_END = re.compile(r"\w{2,40}\Z")
_WORD = re.compile(r"[^\W\d_]*")
_DIGITS = re.compile(r"[0-9]+(?:[.,:][0-9]+)*")
# What a copied time has after it. A dot at the end is that of the sentence.
_HALF_OF_DAY = re.compile(rf"[{SPACES}]?(?:[ap]\.m(?:\.(?=.*\w))?|pm)(?!\w)")


@dataclass(frozen=True)
class CheckedOutput:
    """A translation, and what it has of the spans of its sentence."""

    text: str
    # Places of the renderings that have a numeral or a word which is not there.
    missing: frozenset[int]
    # The numerals that are not there, in reading order.
    absent: tuple[Numeral, ...]
    # Ranges of the numbers in the translation that belong to no span.
    extra: tuple[Range, ...]
    has_words: bool
    # Where numbers of the spans begin that have no space after a word.
    joined: tuple[int, ...]

    def add_spaces(self, source: str) -> str:
        """Returns the translation with spaces between words and numbers that have none, as in `über50`.

        What its sentence has in the same way, such as `mp3`, stays.
        """
        changes: list[tuple[int, int, str]] = []
        for place in self.joined:
            word = _TOKEN_END.search(self.text, 0, place)
            if word is not None and word[0] + self.text[place] not in source:
                changes.append((place, place, " "))
        return replaced(self.text, changes)

    def repair(self) -> str | None:
        """Returns the translation with its wrong numbers replaced by those that are not there, in the same order.

        Returns None if that is not sure: words are not there either, or there are not as many wrong numbers.
        """
        absent = self.absent
        wrong = {self.text[start:end] for start, end in self.extra}
        if len(absent) == len(wrong) == 1:
            # The translation may have it more than once.
            absent *= len(self.extra)
        if not self.has_words or len(absent) != len(self.extra):
            return None
        changes: list[tuple[int, int, str]] = []
        for (begin, end), numeral in zip(self.extra, absent, strict=True):
            written = numeral.localized
            if self.text[max(begin - 1, 0) : begin].isalpha():
                written = f" {written}"
            if numeral.units and not _is_followed(self.text, end, numeral.units):
                written = f"{written} {numeral.unit}"
            half = _HALF_OF_DAY.match(self.text, end)
            changes.append((begin, half.end() if half else end, written))
        return replaced(self.text, changes)


def check(output: str, renderings: Sequence[Rendering]) -> CheckedOutput:
    """Looks for the numerals and the words of spans, in reading order, in a translation."""
    numerals: list[Numeral] = []
    # By numeral, the place of its rendering.
    owners: list[int] = []
    for index, rendering in enumerate(renderings):
        for numeral in rendering.numerals:
            numerals.append(numeral)
            owners.append(index)
    taken: list[Range] = []
    absent = [place for place in _longest_first(numerals) if not _take_number(numerals[place], output, taken)]
    lowered = output.lower()
    without_words: set[int] = set()
    for index, rendering in enumerate(renderings):
        has_name = not rendering.name or _take_name(rendering, output, taken)
        has_words = all(any(word in lowered for word in group) for group in rendering.words)
        if not has_name or not has_words:
            without_words.add(index)
    numbers = [match.span() for match in _DIGITS.finditer(output)]
    return CheckedOutput(
        text=output,
        missing=frozenset(owners[place] for place in absent) | without_words,
        absent=tuple(numerals[place] for place in sorted(absent)),
        extra=tuple(number for number in numbers if not overlaps(number, taken)),
        has_words=not without_words,
        joined=tuple(sorted(start for start, _ in taken if _ends_word(output[max(start - 2, 0) : start]))),
    )


def _longest_first(numerals: Sequence[Numeral]) -> list[int]:
    """Returns the places of numerals, those with a long form first: it may contain a short one."""
    return sorted(range(len(numerals)), key=lambda place: -max(map(len, numerals[place].forms)))


def _take_number(numeral: Numeral, output: str, taken: list[Range]) -> bool:
    """Takes the longest form of a numeral that is in a translation, and says whether there is one."""
    for form in sorted(numeral.forms, key=lambda form: (-len(form), form)):
        found = _find_number(form, numeral.units, output, taken)
        if found is not None:
            taken.append(found)
            return True
    return False


def _find_number(form: str, units: Sequence[str], output: str, taken: Sequence[Range]) -> Range | None:
    """Returns where a number is in a translation, as a whole number that is not taken, with one of the units."""
    start = output.find(form)
    while start >= 0:
        end = start + len(form)
        is_found = is_whole(output, start, end) and not overlaps((start, end), taken)
        if is_found and (not units or _is_followed(output, end, units)):
            return start, end
        start = output.find(form, start + 1)
    return None


def _take_name(rendering: Rendering, output: str, taken: list[Range]) -> bool:
    """Takes the name of a span where it is in a translation, as whole words, and says whether it is there."""
    name = rendering.name
    start = output.find(name)
    while start >= 0:
        end = start + len(name)
        if rendering.may_end_in_s and output.startswith("s", end):
            end += 1
        is_whole_word = not _has_letter_at(output, start - 1) and not _has_letter_at(output, end)
        if is_whole_word and not overlaps((start, end), taken):
            taken.append((start, end))
            return True
        start = output.find(name, start + 1)
    return False


def _has_letter_at(text: str, place: int) -> bool:
    """Whether there is a letter, a digit or an underscore at a place, which may be outside of the text."""
    if not 0 <= place < len(text):
        return False
    return text[place].isalnum() or text[place] == "_"


def _is_followed(text: str, end: int, units: Sequence[str]) -> bool:
    """Whether one of the units is after a place, as a word, which may be inflected, or cut as `Kilo` is."""
    rest = text[end : end + UNIT_CHARACTERS].lstrip(f"{SPACES}-").lower()
    match = _WORD.match(rest)
    word = match[0] if match else ""
    for unit in units:
        if rest.startswith(unit):
            # Characters of scripts without spaces need none after them.
            is_character = unit[-1] >= FIRST_WITHOUT_SPACES
            if is_character or not rest[len(unit) : len(unit) + 1].isalpha():
                return True
        is_inflected = word.startswith(unit) and len(word) - len(unit) <= MAX_ENDING
        if is_inflected and len(unit) >= MIN_INFLECTED:
            return True
        if unit.startswith(word) and len(word) >= MIN_INFLECTED:
            return True
    return False


def _ends_word(end: str) -> bool:
    """Whether two characters are the end of a word: the letter of a name such as A4 is none."""
    return len(end) == 2 and end.isalpha() and end.islower()
