"""Months and weekdays of a summary that its source does not name, by CLDR's names in babel.

A summary that says "on Thursday" where its text says "on Friday" has a wrong fact. In a summary, only full names are
looked for. A source names a month or weekday also by an abbreviation, in a compound, or by the digits of a date. Time
is linear in both texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from babel import Locale

from slimseq.inference.text.language import base_language
from slimseq.inference.text.names import WITHOUT_CASES
from slimseq.inference.text.numbers import find_matches

MONTHS = 12
# The fewest letters of an abbreviation, unless CLDR has a shorter one.
MIN_ABBREVIATION = 3
# The fewest letters of a name that is found as a part of a compound: `Mai` is not found in `Maibaum`.
MIN_PART = 4
# The first or last letters of a word, by which the names that the word may have are looked up: as many as an
# abbreviation has.
_KEY_LETTERS = MIN_ABBREVIATION
# Names that are also other words of their language, as in "Prices may rise". They count beside a number or after one of
# the words that stand before a date.
_OTHER_WORDS = {"en": frozenset({"may", "march", "august"})}
_BEFORE_DATES = frozenset(
    {"in", "on", "since", "by", "until", "till", "from", "for", "of", "during", "before", "after", "through"}
    | {"last", "next", "this", "late", "early", "mid"}
)
# Names beside CLDR's: `Sonnabend` is `Samstag`.
_SYNONYMS = {"de": {"sonnabend": "samstag", "jänner": "januar", "feber": "februar"}, "es": {"setiembre": "septiembre"}}
# A longer word is searched in pieces.
_WORD = re.compile(r"[^\W\d_]{1,100}")
# A date in digits: 12/03, 2025-03, 12.03.2025 and 12.03., but neither 3.5 nor 10-15.
_DATE = re.compile(
    r"(?<![\d./-])(?:\d{1,2}([./-])(\d{1,2})\1\d{2,4}|\d{4}([./-])\d{1,2}(?:\3\d{1,2})?|\d{1,4}/\d{1,4}|\d{1,2}\.\d{1,2}\.)"
    r"(?!\d)"
)
_DIGITS = re.compile(r"\d{1,4}")
# The words and numbers just before and after a name. All words that stand before a date are short.
_WORD_BEFORE = re.compile(r"([^\W\d_]{1,10})[\s-]{1,3}\Z")
_NUMBER_BEFORE = re.compile(r"\d(?:st|nd|rd|th)?,?\s\Z")
_NUMBER_AFTER = re.compile(r"\.?,?\s\d")
# Characters before a name that are searched for these.
_NEAR = 14


@dataclass(frozen=True)
class CalendarNames:
    """The names of the months and weekdays of one language. Months are 0 to 11, weekdays 12 to 18.

    Args:
        full: what each whole name stands for, in lower case.
        short: what each abbreviation may stand for, in lower case.
        is_capitalized: whether the language writes the names with a capital letter.
        other_words: names that are also other words, such as "may".
        by_start, by_end: the whole names by their first and last letters.
    """

    full: dict[str, int]
    short: dict[str, set[int]]
    is_capitalized: bool
    other_words: frozenset[str]
    by_start: dict[str, list[str]] = field(default_factory=dict)
    by_end: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.full:
            self.by_start.setdefault(name[:_KEY_LETTERS], []).append(name)
            self.by_end.setdefault(name[-_KEY_LETTERS:], []).append(name)

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """Yields the months and weekdays that a text has by their full names, and the names."""
        for match in _WORD.finditer(text):
            name, end = match[0], match.end()
            found = self.full.get(name.lower())
            if found is None and text.startswith("-", end):
                # A name with a hyphen, such as segunda-feira.
                following = _WORD.match(text, end + 1)
                name = f"{name}-{following[0]}" if following else name
                found = self.full.get(name.lower())
            if found is None or (self.is_capitalized and not name[0].isupper()):
                continue
            if name.lower() in self.other_words and not _is_in_date(text, match.start(), match.end()):
                continue
            yield found, name

    def has_word(self, text: str, name: str) -> bool:
        """Whether a text has a name as it is written, as a word of its own. `known` finds such a name too."""
        if name.lower() in self.other_words:
            return False
        place = text.find(name)
        while place >= 0:
            end = place + len(name)
            if not _is_letter(text[place - 1 : place]) and not _is_letter(text[end : end + 1]):
                return True
            place = text.find(name, end)
        return False

    def known(self, text: str) -> set[int]:
        """Returns the months and weekdays that a text may name, in any way."""
        found: set[int] = set()
        for match in _WORD.finditer(text):
            word = match[0].lower()
            if word in self.other_words and match[0].islower() and not _is_in_date(text, *match.span()):
                continue
            found |= self.short.get(word, set())
            if len(word) < MIN_ABBREVIATION:
                continue
            for name in self.by_start.get(word[:_KEY_LETTERS], ()):
                if name.startswith(word) or (len(name) >= MIN_PART and word.startswith(name)):
                    found.add(self.full[name])
            for name in self.by_end.get(word[-_KEY_LETTERS:], ()):
                if len(name) >= MIN_PART and word.endswith(name):
                    found.add(self.full[name])
        # The months of dates in digits. Day and month may be in any order, so that both count.
        for number in find_matches(text):
            date = _DATE.match(text, number.start())
            numbers = [int(digits[0]) for digits in _DIGITS.finditer(date[0])] if date else []
            found |= {month - 1 for month in numbers if 1 <= month <= MONTHS}
        return found


def added_calendar_names(source: str, output: str, language: str) -> list[str]:
    """Returns the months and weekdays of a summary that its source does not name, as the summary writes them."""
    names = find_calendar_names(base_language(language))
    if names is None:
        return []
    written: dict[int, str] = {}
    for found, name in names.find(output):
        written.setdefault(found, name)
    # Nearly always a summary has a name from its source. Only where it has not, all words of the source are read.
    doubtful = {found: name for found, name in written.items() if not names.has_word(source, name)}
    if not doubtful:
        return []
    known = names.known(source)
    return [name for found, name in doubtful.items() if found not in known]


@cache
def find_calendar_names(language: str) -> CalendarNames | None:
    """Returns the names of a language. None: names have endings in this language, so that they may not be found."""
    if language not in WITHOUT_CASES:
        return None
    locale = Locale.parse(language)
    # Months by their number, weekdays from Monday on.
    months, days = locale.months, locale.days
    wide = [*_in_order(months["stand-alone"]["wide"]), *_in_order(days["stand-alone"]["wide"])]
    full = {name.lower(): index for index, name in enumerate(wide)}
    full |= {other: full[name] for other, name in _SYNONYMS.get(language, {}).items()}
    short: dict[str, set[int]] = {}
    for context in ("stand-alone", "format"):
        forms = [*_in_order(months[context]["abbreviated"]), *_in_order(days[context]["abbreviated"])]
        for index, form in enumerate(forms):
            # Without what Catalan has before a month: `de gen.`, `d'abr.`
            for word in _WORD.findall(form)[-1:]:
                short.setdefault(word.lower(), set()).add(index)
    january = wide[0]
    is_capitalized = january[0].isupper()
    return CalendarNames(full, short, is_capitalized, _OTHER_WORDS.get(language, frozenset()))


def _is_letter(character: str) -> bool:
    """Whether a character is a letter of a word. No character is none."""
    return _WORD.match(character) is not None


def _in_order(names: dict[int, str]) -> list[str]:
    return [names[index] for index in sorted(names)]


def _is_in_date(text: str, start: int, end: int) -> bool:
    """Whether a word that may be a month is one: beside a number, or after a word such as `in`."""
    before = text[max(start - _NEAR, 0) : start]
    word = _WORD_BEFORE.search(before)
    if word is not None and word[1].lower() in _BEFORE_DATES:
        return True
    return bool(_NUMBER_BEFORE.search(before) or _NUMBER_AFTER.match(text, end))
