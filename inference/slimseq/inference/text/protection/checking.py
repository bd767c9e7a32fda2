"""Checks that the numbers of a sentence are in its translation, and replaces those that are wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.inference.text.numbers import is_whole
from slimseq.inference.text.protection.localization import Numeral, Rendering
from slimseq.inference.text.protection.spans import Range
from slimseq.inference.text.typography import FIRST_WITHOUT_SPACES, SPACES

# The longest unit has fewer.
UNIT_CHARACTERS = 24
# An inflected unit has at most so many letters more. Shorter units than these are not inflected or cut.
MAX_ENDING, MIN_INFLECTED = 2, 4
_TOKEN_END = re.compile(r"\w{2,40}\Z")
_WORD = re.compile(r"[^\W\d_]*")
_DIGITS = re.compile(r"[0-9]+(?:[.,:][0-9]+)*")


@dataclass(frozen=True)
class CheckedOutput:
    """A translation, and what it has of the spans of its sentence.

    Args:
        text: the translation.
        missing: places of the renderings that have a numeral or a word which is not there.
        absent: the numerals that are not there, in reading order.
        extra: ranges of the numbers in the translation that belong to no span.
        has_words: whether all words are there.
        joined: where numbers of the spans begin that have no space after a word.
    """

    text: str
    missing: frozenset[int]
    absent: tuple[Numeral, ...]
    extra: tuple[Range, ...]
    has_words: bool
    joined: tuple[int, ...]

    def add_spaces(self, source: str) -> str:
        """Returns the translation with spaces between words and numbers that have none, as in `über50`.

        What its sentence has in the same way, such as `mp3`, stays.
        """
        pieces, start = [], 0
        for begin in self.joined:
            token = _TOKEN_END.search(self.text, 0, begin)
            if token and token[0] + self.text[begin] not in source:
                pieces.append(self.text[start:begin])
                start = begin
        return " ".join([*pieces, self.text[start:]])

    def repair(self) -> str | None:
        """Returns the translation with its wrong numbers replaced by those that are not there, in the same order.

        Returns None if that is not sure: words are not there either, or there are not as many wrong numbers.
        """
        absent, wrong = self.absent, {self.text[start:end] for start, end in self.extra}
        if len(absent) == len(wrong) == 1:
            # The translation may have it more than once.
            absent *= len(self.extra)
        if not self.has_words or len(absent) != len(self.extra):
            return None
        pieces, start = [], 0
        for (begin, end), numeral in zip(self.extra, absent, strict=True):
            has_unit = not numeral.units or _is_followed(self.text, end, numeral.units)
            space = " " if self.text[max(begin - 1, 0) : begin].isalpha() else ""
            pieces += [self.text[start:begin], space, numeral.localized, "" if has_unit else f" {numeral.unit}"]
            start = end
        return "".join([*pieces, self.text[start:]])


def check(output: str, renderings: Sequence[Rendering]) -> CheckedOutput:
    """Looks for the numerals and the words of spans, in reading order, in a translation."""
    taken: list[Range] = []
    places = [(index, numeral) for index, each in enumerate(renderings) for numeral in each.numerals]
    absent: set[int] = set()
    # A long form may contain a short one.
    for place in sorted(range(len(places)), key=lambda place: -max(map(len, places[place][1].forms))):
        numeral = places[place][1]
        forms = sorted(numeral.forms, key=lambda form: (-len(form), form))
        matches = (_find_number(form, numeral.units, output, taken) for form in forms)
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
    return CheckedOutput(
        text=output,
        missing=frozenset(places[place][0] for place in absent) | frozenset(wordless),
        absent=tuple(places[place][1] for place in sorted(absent)),
        extra=tuple(extra),
        has_words=not wordless,
        joined=tuple(sorted(start for start, _ in taken if _ends_word(output[max(start - 2, 0) : start]))),
    )


def _find_number(form: str, units: Sequence[str], output: str, taken: Sequence[Range]) -> Range | None:
    """Returns where a number is in a translation, as a whole number that is not taken, with one of the units."""
    start = output.find(form)
    while start >= 0:
        end = start + len(form)
        is_free = not any(begin < end and start < stop for begin, stop in taken)
        if is_free and is_whole(output, start, end) and (not units or _is_followed(output, end, units)):
            return start, end
        start = output.find(form, start + 1)
    return None


def _is_followed(text: str, end: int, units: Sequence[str]) -> bool:
    """Whether one of the units is after a place, as a word, which may be inflected, or cut as `Kilo` is."""
    rest = text[end : end + UNIT_CHARACTERS].lstrip(f"{SPACES}-").lower()
    match = _WORD.match(rest)
    word = match[0] if match else ""
    return any(
        (rest.startswith(unit) and (unit[-1] >= FIRST_WITHOUT_SPACES or not rest[len(unit) : len(unit) + 1].isalpha()))
        or (word.startswith(unit) and len(unit) >= MIN_INFLECTED and len(word) - len(unit) <= MAX_ENDING)
        or (unit.startswith(word) and len(word) >= MIN_INFLECTED)
        for unit in units
    )


def _ends_word(end: str) -> bool:
    """Whether two characters are the end of a word: the letter of a name such as A4 is none."""
    return len(end) == 2 and end.isalpha() and end.islower()
