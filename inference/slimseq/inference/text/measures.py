"""What belongs to the numbers of a translation from English: units, currency signs, names such as BA 117, decades.

Only what is surely wrong is found: the translation has a number of the source, and nowhere with what belongs to it.
"""

import re

from slimseq.inference.text.localization import CURRENCIES
from slimseq.inference.text.notation import Notation, find_notation
from slimseq.inference.text.numbers import find_places, groups_of
from slimseq.inference.text.spans import CURRENCY_CODE, NUMERAL

# A name such as "BA 117" or a currency sign before a number, else what is after it; 1.7m are millions.
_MEASURE = re.compile(
    rf"(?<![\w.,])(?P<before>[A-Z]{{1,5}}-?(?=[0-9])|(?!{CURRENCY_CODE})[A-Z]{{2,5}} (?=[0-9])|[$£€¥])?"
    rf"(?P<number>{NUMERAL})(?(before)|(?:(?P<decade>s)|[ -]?(?P<unit>(?!(?<=[0-9])m\b)[A-Za-z°²³/]{{1,12}}))?)(?!\w)"
)
# They are translated.
_NOT_NAMES = frozenset({"A", "I", "US", "UK", "EU", "UN", "AD", "BC", "AM", "PM", "NO", "IN"})
# More occurrences of one number are not looked at, nor more of a sentence than models read.
MAX_PLACES, MAX_CHARACTERS = 8, 20_000
# Characters of a translation beside a number that are looked at.
BEFORE, AFTER = 8, 30
_WORDS = re.compile(r"[^\s\d.,;:!?()\"“„\u2011-]+")
_CODES = dict(CURRENCIES)
_BASE_LETTERS = str.maketrans("äöü", "aou")
# By target language: what follows the number of a decade, and what is wrong before a percentage after "to" and "by".
_DECADES = {"de": ("er", "s", " s")}
_OPPOSITES = {"de": {"to": "um", "by": "auf"}}


def changed_measures(source: str, output: str, target: str) -> list[str]:
    """Returns the numbers of an English text, with what belongs to them, that have something else in a translation."""
    notation = find_notation(target)
    if notation is None or not (found := list(_MEASURE.finditer(source, 0, MAX_CHARACTERS))):
        return []
    places = find_places(output)
    changed = []
    for match in found:
        beside = [
            (output[max(start - BEFORE, 0) : start], output[end : end + AFTER])
            for start, end in places.get(groups_of(match["number"]), [])[: MAX_PLACES + 1]
        ]
        if 0 < len(beside) <= MAX_PLACES and all(_is_changed(match, *each, notation, target) for each in beside):
            changed.append(match[0])
    return changed


def _is_changed(match: re.Match[str], before: str, after: str, notation: Notation, target: str) -> bool:
    name, lowered = (match["before"] or "").rstrip(" -"), after.lower()
    if code := _CODES.get(name):
        signs = (name, code.lower(), *notation.currency_words(code))
        near = f"{before.lower()} {' '.join(lowered.split()[:2])}"
        return not any(sign in near for sign in signs)
    if name:
        # ACE2 may be ECA2, but not 2.
        return name not in _NOT_NAMES and name not in before + after and not before.rstrip(" -")[-1:].isupper()
    if match["decade"]:
        return target in _DECADES and not lowered.startswith(_DECADES[target])
    if match["unit"] == "percent" or match.string.startswith(("%", " %"), match.end()):
        preposition = match.string[max(match.start() - 3, 0) : match.start()].strip()
        return before.split()[-1:] == [_OPPOSITES.get(target, {}).get(preposition)]
    known = [each.translate(_BASE_LETTERS) for each in notation.unit_words(match["unit"] or "")]
    said = _WORDS.findall(lowered.translate(_BASE_LETTERS))
    return bool(known) and not any(_is_same(word, each) for word in said for each in known)


def _is_same(word: str, unit: str) -> bool:
    """Whether a word is a unit, which may be inflected, or the first part of a word or of the unit."""
    is_longer = len(unit) > 2 and word.startswith(unit[: max(3, len(unit) - 2)])
    return word == unit or is_longer or (len(word) > 3 and unit.startswith(word))
