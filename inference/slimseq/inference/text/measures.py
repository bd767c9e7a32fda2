"""What belongs to the numbers of a translation: units, currencies, names such as BA 117, decades, their notation.

Only what is surely wrong is found: the translation has a number of the source, and nowhere with what belongs to it.
"""

import re

from slimseq.inference.text.notation import Notation, find_notation
from slimseq.inference.text.numbers import find_places, groups_of, typed
from slimseq.inference.text.spans import CURRENCY_CODE, CURRENCY_SIGN, NUMERAL

# A currency or a name such as "BA 117" before a number, else what is after it; 1.7m are millions.
_MEASURE = re.compile(
    rf"(?<![\w.,$])(?:(?P<money>{CURRENCY_SIGN}|{CURRENCY_CODE})[ \u00a0]?(?=[0-9])"
    rf"|(?P<name>[A-Z]{{1,5}}-?|[A-Z]{{2,5}} )(?=[0-9]))?(?P<number>{NUMERAL})(?(money)|(?(name)|(?:(?P<decade>s)"
    rf"|[ \u00a0-]?(?:(?P<sign>[$£€¥₹₽])|(?P<unit>(?!(?<=[0-9])m\b)(?:[^\W\d_]|[°/]){{1,20}})))?))(?!\w)"
)
_THOUSANDS = re.compile(r"[0-9]{1,3}[.,][0-9]{3}")
# They are translated.
_NOT_NAMES = frozenset({"A", "I", "US", "UK", "EU", "UN", "AD", "BC", "AM", "PM", "NO", "IN"})
# More occurrences of one number are not looked at, nor more of a sentence than models read.
MAX_PLACES, MAX_CHARACTERS = 8, 20_000
# Characters of a translation beside a number that are looked at.
BEFORE, AFTER = 8, 30
_WORDS = re.compile(r"[^\s\d.,;:!?()\"“„\u2011-]+")
_BASE_LETTERS = str.maketrans("äöü", "aou")
# By target language: what follows the number of a decade, and what is wrong before a percentage after "to" and "by".
_DECADES = {"de": ("er", "s", " s")}
_OPPOSITES = {"de": {"to": "um", "by": "auf"}}


def changed_measures(source: str, output: str, language: str, target: str) -> list[str]:
    """Returns the numbers of a text, with what belongs to them, that have something else in a translation."""
    own, notation = find_notation(language), find_notation(target)
    if own is None or notation is None:
        return []
    text = typed(source[:MAX_CHARACTERS], is_spaced=own.is_spaced)
    places, changed = find_places(output), []
    for match in _MEASURE.finditer(text):
        ranges = places.get(groups_of(match["number"]), [])[: MAX_PLACES + 1]
        if 0 < len(ranges) <= MAX_PLACES and all(_is_changed(match, output, *each, own, notation) for each in ranges):
            changed.append(source[slice(*match.span())])
    return changed


def _is_changed(match: re.Match[str], output: str, start: int, end: int, own: Notation, notation: Notation) -> bool:
    before, lowered = output[max(start - BEFORE, 0) : start], output[end : end + AFTER].lower()
    name, unit, number, target = match["name"] or "", match["unit"] or "", match["number"], notation.language
    # 1.250 is a number of thousands in Portuguese, a decimal in English.
    is_kept = number == output[start:end] and own.group == notation.decimal
    if is_kept and own.group in number and _THOUSANDS.fullmatch(number):
        return True
    if money := match["money"] or match["sign"] or own.currency_nouns.get(unit.lower()):
        near = f"{before.lower()} {' '.join(lowered.split()[:2])}"
        if any(each in near for each in (*own.currency_names(money), *notation.currency_names(money))):
            return False
        if own.unit_name(unit) is None:
            return True
    if name:
        # Words in capitals are names in English; others say "WM 2014" for the World Cup. ACE2 may be ECA2, but not 2.
        if own.language != "en" and name.endswith(" "):
            return False
        is_kept = name.rstrip(" -") in before + output[end : end + AFTER] or before.rstrip(" -")[-1:].isupper()
        return name.rstrip(" -") not in _NOT_NAMES and not is_kept
    if match["decade"]:
        return target in _DECADES and not lowered.startswith(_DECADES[target])
    if match["unit"] == "percent" or match.string.startswith(("%", " %"), match.end()):
        preposition = match.string[max(match.start() - 3, 0) : match.start()].strip()
        return before.split()[-1:] == [_OPPOSITES.get(target, {}).get(preposition)]
    known = [each.translate(_BASE_LETTERS) for each in notation.unit_words(own.unit_name(unit))]
    said = _WORDS.findall(lowered.translate(_BASE_LETTERS))
    is_kept = said[:1] == [unit.lower()]
    return bool(known) and not is_kept and not any(_is_same(word, each) for word in said for each in known)


def _is_same(word: str, unit: str) -> bool:
    """Whether a word is a unit, which may be inflected, or the first part of a word or of the unit."""
    is_longer = len(unit) > 2 and word.startswith(unit[: max(3, len(unit) - 2)])
    return word == unit or is_longer or (len(word) > 3 and unit.startswith(word.removesuffix("s")))
