"""A sentence with placeholders for some of its spans, and what a translation has of all of its spans.

The spans are put back into the translation in place of their placeholders. Numbers, units and names without a
placeholder are looked for in the translation. A wrong number is replaced where it is sure which one it is. `passes`
decides which spans have placeholders, and what follows if spans are lost.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.inference.text.localization import Numeral, Rendering, put_signs
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES, SPACES, is_whole
from slimseq.inference.text.spans import ProtectedSpan, Range, overlaps, replaced

_WORD_CHARACTERS = re.compile(r"\w+")
# Characters after a number that are searched for its unit. The longest unit has fewer.
UNIT_CHARACTERS = 24
# An inflected unit has at most so many letters more than the unit.
MAX_ENDING = 2
# Units with fewer letters are found only as they are, neither inflected nor cut.
MIN_INFLECTED = 4
# The word at the end of a text.
_LAST_WORD = re.compile(r"\w{2,40}\Z")
_WORD = re.compile(r"[^\W\d_]*")
_DIGITS = re.compile(r"[0-9]+(?:[.,:][0-9]+)*")
# What a copied time has after it, such as "p.m.". A dot at the end of the text is the full stop of the sentence.
_HALF_OF_DAY = re.compile(rf"[{SPACES}]?(?:[ap]\.m(?:\.(?=[^\w\n]*\w))?|pm)(?!\w)")


@dataclass(frozen=True)
class Placeholder:
    """What stands for a span, what replaces it, and whether a space was added before or after it."""

    name: str
    replacement: str
    is_spaced_before: bool = False
    is_spaced_after: bool = False


@dataclass(frozen=True)
class Masked:
    """A sentence with placeholders."""

    text: str
    placeholders: tuple[Placeholder, ...]

    def restored(self, output: str) -> tuple[str, list[int]]:
        """Returns a translation with the spans in place of their placeholders.

        The numbers say which placeholders are not in the translation exactly once.
        """
        # The placeholders by their place in the translation.
        found: dict[int, Placeholder] = {}
        lost: list[int] = []
        for index, placeholder in enumerate(self.placeholders):
            matches = re.finditer(re.escape(placeholder.name), output)
            places = [match.start() for match in matches if _is_alone(output, match)]
            if len(places) != 1:
                lost.append(index)
            found |= dict.fromkeys(places, placeholder)
        changes: list[tuple[int, int, str]] = []
        end = 0
        for place, placeholder in sorted(found.items()):
            start = place
            if placeholder.is_spaced_before and output.endswith(" ", end, start):
                start -= 1
            end = place + len(placeholder.name)
            if placeholder.is_spaced_after and output.startswith(" ", end):
                end += 1
            changes.append((start, end, placeholder.replacement))
        return replaced(output, changes), lost


def _is_alone(output: str, match: re.Match[str]) -> bool:
    """Whether a placeholder is a word or a number of its own."""
    if _has_word_character(output, match.start() - 1) or _has_word_character(output, match.end()):
        return False
    return not match[0].isdecimal() or is_whole(output, match.start(), match.end())


@dataclass(frozen=True)
class ProtectedSentence:
    """A sentence, its spans, and how they read in the target language."""

    text: str
    spans: Sequence[ProtectedSpan]
    renderings: Sequence[Rendering]

    def masked(self, chosen: Sequence[int], names: Sequence[str]) -> Masked | None:
        """Returns the sentence with placeholders for the chosen spans.

        `chosen` are indices of `spans`. `names` are the placeholders to take. Returns None if too many of the names are
        words of the sentence.
        """
        if not chosen:
            return Masked(self.text, ())
        words = self._words_without(chosen)
        free = [each for each in names if each.lower() not in words]
        if len(free) < len(chosen):
            return None
        text = self.text
        pieces: list[str] = []
        placeholders: list[Placeholder] = []
        end = 0
        for index, name in zip(chosen, free, strict=False):
            span = self.spans[index]
            is_beside_last = 0 < span.start == end
            is_spaced_before = is_beside_last or _has_word_character(text, span.start - 1)
            is_spaced_after = _has_word_character(text, span.end)
            pieces += [text[end : span.start], " " if is_spaced_before else "", name, " " if is_spaced_after else ""]
            placeholders.append(Placeholder(name, self.renderings[index].text, is_spaced_before, is_spaced_after))
            end = span.end
        return Masked("".join([*pieces, text[end:]]), tuple(placeholders))

    def _words_without(self, chosen: Sequence[int]) -> set[str]:
        """Returns the words that are not in the chosen spans, in small letters."""
        found: set[str] = set()
        start = 0
        for index in chosen:
            found |= {word.lower() for word in _WORD_CHARACTERS.findall(self.text[start : self.spans[index].start])}
            start = self.spans[index].end
        return found | {word.lower() for word in _WORD_CHARACTERS.findall(self.text[start:])}

    def restored(self, chosen: Sequence[int], masked: Masked, output: str) -> tuple[str, set[int]]:
        """Returns the text of an output with its spans, and the indices of the spans that are not in it.

        `chosen` are the indices of the spans that have a placeholder in `masked`.
        """
        unmasked = [index for index in range(len(self.spans)) if index not in chosen]
        renderings = [self.renderings[index] for index in unmasked]
        checked = check(output, renderings)
        if checked.joined:
            checked = check(checked.add_spaces(self.text), renderings)
        text = checked.text
        missing = {unmasked[index] for index in checked.missing}
        repaired = checked.repair() if checked.absent else None
        if repaired is not None:
            text, missing = repaired, set()
        text, lost_placeholders = masked.restored(put_signs(text, renderings))
        return text, missing | {chosen[index] for index in lost_placeholders}


def _has_word_character(text: str, place: int) -> bool:
    """Whether there is a letter, a digit or an underscore at a place, which may be outside of the text."""
    return 0 <= place < len(text) and (text[place].isalnum() or text[place] == "_")


@dataclass(frozen=True)
class CheckedOutput:
    """A translation, and what it has of the spans of its sentence."""

    text: str
    # Indices of the renderings that have a numeral or a word which the translation has not.
    missing: frozenset[int]
    # The numerals that the translation has not, in reading order.
    absent: tuple[Numeral, ...]
    # Ranges of the numbers in the translation that belong to no span.
    extra: tuple[Range, ...]
    # Whether the translation has the words of all renderings.
    has_words: bool
    # Where numbers of the spans begin that have no space between a word and the number.
    joined: tuple[int, ...]

    def add_spaces(self, source: str) -> str:
        """Returns the translation with spaces between words and numbers that have none, as in `über50`.

        What its sentence has in the same way, such as `mp3`, stays.
        """
        changes: list[tuple[int, int, str]] = []
        for place in self.joined:
            word = _LAST_WORD.search(self.text, 0, place)
            if word is not None and word[0] + self.text[place] not in source:
                changes.append((place, place, " "))
        return replaced(self.text, changes)

    def repair(self) -> str | None:
        """Returns the translation with its wrong numbers replaced by the absent numerals, in the same order.

        Returns None if it is not sure which number is which: words are missing too, or the counts differ.
        """
        absent = self.absent
        wrong = {self.text[start:end] for start, end in self.extra}
        if len(absent) == len(wrong) == 1:
            # The translation may have the one wrong number more than once.
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
            # A numeral such as 15:30 is the whole time, so that a copied "p.m." is taken out.
            half_of_day = _HALF_OF_DAY.match(self.text, end)
            changes.append((begin, half_of_day.end() if half_of_day else end, written))
        return replaced(self.text, changes)


def check(output: str, renderings: Sequence[Rendering]) -> CheckedOutput:
    """Looks for the numerals and the words of spans, in reading order, in a translation."""
    numerals: list[Numeral] = []
    # For each numeral, the index of its rendering.
    owners: list[int] = []
    for index, rendering in enumerate(renderings):
        for numeral in rendering.numerals:
            numerals.append(numeral)
            owners.append(index)
    # Where the translation has numerals and names of spans. Each place belongs to one span only.
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
    """Returns the indices of numerals. Long ones come first, since a long one may contain a short one."""
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
        is_whole_word = not _has_word_character(output, start - 1) and not _has_word_character(output, end)
        if is_whole_word and not overlaps((start, end), taken):
            taken.append((start, end))
            return True
        start = output.find(name, start + 1)
    return False


def _is_followed(text: str, end: int, units: Sequence[str]) -> bool:
    """Whether one of the units is after a place. The word there may be inflected, or cut as `Kilo` is."""
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
