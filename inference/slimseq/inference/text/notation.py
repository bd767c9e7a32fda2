"""How a language writes numbers, amounts, dates, times and units, by CLDR's data in babel.

`find_notation` returns the `Notation` of a language. Each of its properties is computed at its first use.
`localization` writes spans with it.

`changed_measures` compares a translation with its source: it finds numbers that have something else beside them in the
translation. This may be a unit, a currency, a name such as BA 117, or the sign of a decade. It finds only what is
surely wrong: the translation has the number of the source, but nowhere what belongs to the number.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache, cached_property
from typing import Literal, NamedTuple

from babel import Locale, UnknownLocaleError
from babel.numbers import get_currency_name
from babel.units import format_unit

from slimseq.inference.text.numbers import (
    FIRST_WITHOUT_SPACES,
    NUMERAL,
    SPACES,
    find_places,
    groups_of,
    typed,
    with_plain_spaces,
)

CURRENCY_SIGN = r"(?:(?:US|CA|AU|NZ|HK|C|A|R)?\$|[£€¥₹₽])"
CURRENCY_CODE = r"(?:USD|EUR|GBP|CHF|JPY|CAD|AUD|CNY|INR|SEK|NOK|DKK|PLN)"
# Units as English writes them, with CLDR's names.
_UNIT_NAMES = (
    "km=kilometer m=meter cm=centimeter mm=millimeter km²=square-kilometer m²=square-meter m³=cubic-meter "
    "kg=kilogram g=gram mg=milligram l=liter dl=deciliter cl=centiliter ml=milliliter km/h=kilometer-per-hour "
    "m/s=meter-per-second mph=mile-per-hour s=second min=minute h=hour ms=millisecond °C=celsius °F=fahrenheit "
    "°=degree kB=kilobyte KB=kilobyte MB=megabyte GB=gigabyte TB=terabyte Hz=hertz kHz=kilohertz MHz=megahertz "
    "GHz=gigahertz W=watt kW=kilowatt MW=megawatt kWh=kilowatt-hour V=volt mA=milliampere px=pixel kcal=kilocalorie "
    "lb=pound lbs=pound oz=ounce ft=foot foot=foot feet=foot mile=mile yard=yard meter=meter second=second "
    "minute=minute hour=hour day=day week=week month=month year=year"
)
UNITS = dict(pair.split("=") for pair in _UNIT_NAMES.split())
# The sign of each currency, and the codes for which it may stand.
_CURRENCIES = (("R$", "BRL"), ("$", "USD"), ("£", "GBP"), ("€", "EUR"), ("¥", "JPY", "CNY"), ("₹", "INR"), ("₽", "RUB"))
# By currency, another one whose name has the same noun, such as US dollar and Australian dollar. The noun is the word
# that both names have. `EUR` has no other: all of its name is the noun.
_SAME_NOUN = {"EUR": "EUR", "USD": "AUD", "GBP": "EGP", "INR": "PKR", "RUB": "BYN"}
# Units that are not compared, since they are also written in another way. `15 anos` may be 15 in the translation, and
# 21 degrees may be 21 °C.
_NOT_COMPARED = frozenset({"degree", "hour", "year"})
_NOT_COMPARED_IN_ENGLISH = frozenset({"degree"})
_Length = Literal["long", "short"]
# One number of each plural form that most languages have.
_COUNTS = (1, 2, 5)

# What may belong to a number before it: a currency, or a name such as "BA 117".
_BEFORE_NUMBER = (
    rf"(?P<money>{CURRENCY_SIGN}|{CURRENCY_CODE})[ \u00a0]?(?=[0-9])|(?P<name>[A-Z]{{1,5}}-?|[A-Z]{{2,5}} )(?=[0-9])"
)
# What may belong to a number after it: the sign of a decade (1990s), the sign of a currency, or a unit. The `m` of 1.7m
# is no unit: it stands for millions.
_AFTER_NUMBER = r"(?P<decade>s)|[ \u00a0-]?(?:(?P<sign>[$£€¥₹₽])|(?P<unit>(?!(?<=[0-9])m\b)(?:[^\W\d_]|[°/]){1,20}))"
# A number and what belongs to it. What is after the number belongs to it only if nothing before it does.
_MEASURE = re.compile(
    rf"(?<![\w.,$])(?:{_BEFORE_NUMBER})?(?P<number>{NUMERAL})(?(money)|(?(name)|(?:{_AFTER_NUMBER})?))(?!\w)"
)
_THOUSANDS = re.compile(r"[0-9]{1,3}[.,][0-9]{3}")
# Capital letters before a number that are translated, so that they are no names.
_NOT_NAMES = frozenset({"A", "I", "US", "UK", "EU", "UN", "AD", "BC", "AM", "PM", "NO", "IN"})
# A number that the translation has at more places is not compared.
_MAX_PLACES = 8
# Limit of the characters of a sentence that are compared: models read fewer.
_MAX_CHARACTERS = 20_000
# Characters of a translation before and after a number that are looked at.
_CHARACTERS_BEFORE = 8
_CHARACTERS_AFTER = 30
# Words after a number among which its currency is: "5 milhões de euros".
_WORDS_TO_CURRENCY = 3
_WORDS = re.compile(r"[^\s\d.,;:!?()\"“„\u2011-]+")
# A plural may have an umlaut that the unit has not.
_BASE_LETTERS = str.maketrans("äöü", "aou")
# By target language, what follows the number of a decade.
_DECADES = {"de": ("er", "s", " s")}
# By target language, prepositions before a percentage in the source, and the wrong one in the translation: "by 5 %" and
# "auf 5 %", which is "to 5 %".
_OPPOSITES = {"de": {"to": "um", "by": "auf"}}


class Notation:
    """How a language writes. Its texts have plain spaces, its words are in lower case."""

    def __init__(self, locale: Locale) -> None:
        self._locale = locale
        symbols = locale.number_symbols["latn"]
        # The separators of decimals and of thousands.
        self.decimal = str(symbols["decimal"])
        self.group = str(symbols["group"])
        self.is_spaced = self.group.isspace()
        # A whole numeral of the language. 3.11 and 24.12.2025 are none in Portuguese, where a dot separates thousands.
        self.numeral = re.compile(rf"(?:[0-9]+|[0-9]{{1,3}}(?:[{self.group}][0-9]{{3}})+)(?:[{self.decimal}][0-9]+)?")
        # CLDR's pattern of an amount, such as `#,##0.00 ¤`, where ¤ stands for the currency.
        amount = str(locale.currency_formats["standard"].pattern).partition(";")[0]
        self.has_currency_after = amount.rstrip().endswith("¤")
        self.currency_space = " " if re.search(r"¤\s", amount) else ""
        self.currency_words = cache(self._currency_words)
        self.unit_words = cache(self._unit_words)
        self.language = locale.language

    def number(self, numeral: str) -> str:
        """Returns an English numeral such as `1,299.99` with the separators of the language."""
        return numeral.translate({ord(","): self.group, ord("."): self.decimal})

    def in_english(self, numeral: str) -> str:
        """Returns a numeral of the language, such as `1.299,99`, with the separators of English."""
        return numeral.translate({ord(self.group): ",", ord(self.decimal): "."})

    def forms(self, numeral: str) -> frozenset[str]:
        """Returns an English numeral with and without separators of thousands, with any space if they are spaces."""
        groups = ["", self.group]
        if self.is_spaced:
            groups += SPACES
        return frozenset(numeral.translate({ord(","): group, ord("."): self.decimal}) for group in groups)

    def _currency_words(self, code: str) -> tuple[str, ...]:
        """Returns the words of the names of a currency, in lower case, without short ones such as "of"."""
        names = {get_currency_name(code, count, self._locale).lower() for count in (None, *_COUNTS)}
        parts = [re.findall(r"\w+", name) for name in names]
        found: set[str] = set()
        for words in parts:
            # A name of three words or more has short ones such as "des".
            fewest_letters = 3 if len(words) < 3 else 4
            found |= {word for word in words if len(word) >= fewest_letters}
        return tuple(found)

    @cached_property
    def percent(self) -> str | None:
        """What is written after a number: a percent sign, with a space before it or not. None: the sign is before."""
        match = re.search(r"0(.?)%$", self._locale.percent_formats[None].pattern)
        if match is None:
            return None
        return " %" if match[1] else "%"

    @cached_property
    def percent_words(self) -> tuple[str, ...]:
        return tuple({text.strip() for text in self._measured("percent", ("long",))} - {""})

    def currency_names(self, money: str) -> tuple[str, ...]:
        """Returns the sign, the codes and the words of a currency, in lower case, by its sign or code."""
        sign_and_codes: tuple[str, ...] = (money,)
        for currency in _CURRENCIES:
            # `US$` has the sign `$` at its end.
            if money in currency or money[-1] in currency:
                sign_and_codes = currency
                break
        codes = sign_and_codes[1:] or sign_and_codes
        names = [each.lower() for each in sign_and_codes]
        for code in codes:
            names += self.currency_words(code)
        return tuple(names)

    @cached_property
    def currency_nouns(self) -> dict[str, str]:
        """Currencies by their code in lower case and by nouns such as `pounds`, not by adjectives such as `British`."""
        currencies: dict[str, str] = {}
        for code, other in _SAME_NOUN.items():
            nouns = set(self.currency_words(code)) & set(self.currency_words(other))
            currencies |= dict.fromkeys({code.lower(), *nouns}, code)
        return currencies

    def _unit_words(self, name: str | None) -> tuple[str, ...]:
        """Returns the first words of the names of a unit, and its abbreviations, by its name in CLDR."""
        if not name:
            return ()
        texts = [text.split() for text in self._measured(name, ("long", "short"))]
        return tuple({words[0].rstrip(".") for words in texts if words})

    def unit_name(self, word: str) -> str | None:
        """Returns CLDR's name of a unit by its abbreviation or a word of the language."""
        if word in self._units:
            return self._units[word]
        # The letters of an abbreviation have a case: `MB` is no `mb`.
        is_abbreviation = len(word) <= 2
        return None if is_abbreviation else self._units.get(word.lower())

    @cached_property
    def _units(self) -> dict[str, str]:
        """CLDR's names of the units that are compared, by abbreviation and by word."""
        not_compared = _NOT_COMPARED_IN_ENGLISH if self.language == "en" else _NOT_COMPARED
        names = set(UNITS.values()) - not_compared
        units: dict[str, str] = {}
        for name in names:
            for text in self._measured(name, ("long", "short")):
                word = text.strip(" .")
                if len(word) > 1 and " " not in word:
                    units[word] = name
        return units | {sign: name for sign, name in UNITS.items() if name in names}

    def _measured(self, name: str, lengths: Sequence[_Length]) -> Iterator[str]:
        """Yields what is written after numbers of a unit."""
        for length in lengths:
            for count in _COUNTS:
                text = format_unit(count, name, length, locale=self._locale)
                yield text.lower().partition(str(count))[2]

    def scaled(self, numeral: str, power: int) -> tuple[str, str]:
        """Returns an English numeral and the word for a power of ten, as the language counts.

        3.2 billion are `3.2` and ` Milliarden` in German, `32` and `億` in Japanese.
        """
        value = Decimal(numeral.replace(",", ""))
        magnitude = str(10**power)
        forms = self._locale.compact_decimal_formats["long"]
        plural = forms.get(self._locale.plural_form(value), {})
        # Such as `0 Milliarden`, or `00億`: a number of two digits and a word.
        pattern = str(plural.get(magnitude, forms["other"][magnitude]).pattern)
        word = with_plain_spaces(pattern.replace("0", "").replace("'", ""))
        # By how many digits the number is longer than the English one. Without a word, it has all digits.
        has_word = bool(word.strip())
        shift = pattern.count("0") - 1 if has_word else power
        number = f"{value.scaleb(shift):,f}" if shift else numeral
        return number, word.rstrip()

    @cached_property
    def scale_words(self) -> dict[int, tuple[str, ...]]:
        """By power of ten, the words and abbreviations for it."""
        formats = self._locale.compact_decimal_formats
        forms = [*formats["long"].values(), *formats["short"].values()]
        found = {}
        for power in (3, 6, 9, 12):
            magnitude = str(10**power)
            patterns = [str(form[magnitude].pattern) for form in forms if magnitude in form]
            words = {pattern.replace("0", "").strip(" .'\u00a0").lower() for pattern in patterns}
            # A letter such as `k` may be in any word.
            found[power] = tuple(word for word in words if len(word) > 1 or word > FIRST_WITHOUT_SPACES)
        return found

    @property
    def ordinal(self) -> str | None:
        """What makes an ordinal of a number. None: CLDR does not say it."""
        return "." if "%(d)s." in self._date_format("MMMMd") else None

    def dates(self, day: str | None, month: int, year: str | None) -> list[str]:
        """Returns a date as the language writes it, then other ways to write it. Empty if CLDR has no such date."""
        # A template has fields such as `%(d)s`, named by CLDR's letters for day, month and year.
        template = self._date_format(f"{'y' if year else ''}MMMM{'d' if day else ''}")
        if not template:
            return []
        # What follows the last field may be left out, such as the abbreviation of "year" in Russian.
        end_of_fields = template.rfind(")s") + len(")s")
        templates = (template, template[:end_of_fields])
        wide, alone, short = (names[month] for names in self._months)
        found = []
        for name, name_alone in ((wide, alone), (alone, alone), (short, short)):
            values = {"MMMM": name, "LLLL": name_alone, "MMM": short, "M": month, "MM": f"{month:02}"}
            values |= {"y": year, "YYYY": year}
            # The 7 of July is also written 07. A template without a day reads neither.
            for digits in (day, f"0{day}"):
                values |= {"d": digits, "dd": digits}
                found += [each % values for each in templates]
        found += [each.replace(".", "") for each in found]
        return list(dict.fromkeys(map(with_plain_spaces, found)))

    def _date_format(self, skeleton: str) -> str:
        found = self._locale.datetime_skeletons.get(skeleton)
        return "" if found is None else str(found.format)

    @cached_property
    def _months(self) -> list[dict[int, str]]:
        """The names of the months: in a date, alone, and abbreviated."""
        kinds = (("format", "wide"), ("stand-alone", "wide"), ("format", "abbreviated"))
        return [dict(self._locale.months[context][width]) for context, width in kinds]

    @cached_property
    def hour_separator(self) -> str | None:
        """What is between hours and minutes. None: the language counts twelve hours, before and after noon."""
        match = re.search(r"H(\W)mm", self._locale.time_formats["short"].pattern)
        return match[1] if match else None

    @cached_property
    def after_hour(self) -> str:
        """What is written after a full hour, such as ` Uhr`, or nothing."""
        return self._date_format("H").rpartition(")s")[2]

    @cached_property
    def after_minute(self) -> str:
        """What is written after hours and minutes."""
        pattern = self._locale.interval_formats["Hm"]["m"][1]
        minute = pattern.lstrip("H")
        is_known = minute != pattern and minute.startswith((":mm", ".mm"))
        return minute[len(":mm") :].replace("'", "") if is_known else ""

    @cached_property
    def both(self) -> str:
        """What is written between two things that belong together, such as ` und `."""
        return str(self._locale.list_patterns["standard"]["2"]).replace("{0}", "").replace("{1}", "")


@cache
def find_notation(language: str) -> Notation | None:
    try:
        return Notation(Locale.parse(language.replace("-", "_")))
    except (UnknownLocaleError, ValueError):
        return None


def changed_measures(source: str, output: str, language: str, target: str) -> list[str]:
    """Returns the numbers of a text, with what belongs to them, that have something else in a translation."""
    own, notation = find_notation(language), find_notation(target)
    if own is None or notation is None:
        return []
    text = typed(source[:_MAX_CHARACTERS], is_spaced=own.is_spaced)
    places = find_places(output)
    changed: list[str] = []
    for match in _MEASURE.finditer(text):
        ranges = places.get(groups_of(match["number"]), [])[: _MAX_PLACES + 1]
        if not ranges or len(ranges) > _MAX_PLACES:
            continue
        found = [_FoundNumber.at(output, start, end) for start, end in ranges]
        if all(_is_changed(match, each, own, notation) for each in found):
            changed.append(source[match.start() : match.end()])
    return changed


class _FoundNumber(NamedTuple):
    """A number at a place of a translation, and the texts before and after it."""

    number: str
    before: str
    after: str

    @classmethod
    def at(cls, output: str, start: int, end: int) -> "_FoundNumber":
        before = output[max(start - _CHARACTERS_BEFORE, 0) : start]
        after = output[end : end + _CHARACTERS_AFTER]
        return cls(output[start:end], before, after)


def _is_changed(match: re.Match[str], found: _FoundNumber, own: Notation, notation: Notation) -> bool:
    """Whether a number of the translation has something else beside it than the match of the source has.

    `own` is the notation of the source, `notation` the notation of the translation.
    """
    number = match["number"]
    is_copied = number == found.number
    is_of_thousands = own.group in number and _THOUSANDS.fullmatch(number) is not None
    if is_copied and is_of_thousands and own.group == notation.decimal:
        # 1.250 is a number of thousands in Portuguese, a decimal in English.
        return True

    unit = match["unit"] or ""
    money = match["money"] or match["sign"] or own.currency_nouns.get(unit.lower())
    if money:
        if _has_currency(found, (*own.currency_names(money), *notation.currency_names(money))):
            return False
        # A noun such as "pounds" may be a unit of weight too, which is looked at below.
        if own.unit_name(unit) is None:
            return True

    if match["name"]:
        # A word in capitals before a number is a name in English. German says "WM 2014" for the World Cup.
        may_be_word = own.language != "en" and match["name"].endswith(" ")
        return not may_be_word and _lacks_name(match["name"].rstrip(" -"), found)

    if match["decade"]:
        target = notation.language
        return target in _DECADES and not found.after.lower().startswith(_DECADES[target])

    is_percentage = unit == "percent" or match.string.startswith(("%", " %"), match.end())
    if is_percentage:
        return _has_opposite_preposition(match, found, notation.language)

    return _lacks_unit(unit, notation.unit_words(own.unit_name(unit)), found.after.lower())


def _has_currency(found: _FoundNumber, names: Sequence[str]) -> bool:
    """Whether a name of a currency, in lower case, is near a number."""
    words_after = found.after.lower().split()[:_WORDS_TO_CURRENCY]
    near = f"{found.before.lower()} {' '.join(words_after)}"
    return any(name in near for name in names)


def _lacks_name(letters: str, found: _FoundNumber) -> bool:
    """Whether the letters of a name such as BA 117 are surely not beside a number."""
    if letters in _NOT_NAMES or letters in found.before + found.after:
        return False
    # Any capital before the number is enough: ACE2 may be ECA2, but not 2.
    return not found.before.rstrip(" -")[-1:].isupper()


def _has_opposite_preposition(match: re.Match[str], found: _FoundNumber, target: str) -> bool:
    """Whether a percentage has the wrong preposition: "by 5 %" and "to 5 %" are not the same."""
    preposition = match.string[max(match.start() - len("to "), 0) : match.start()].strip()
    wrong = _OPPOSITES.get(target, {}).get(preposition)
    return found.before.split()[-1:] == [wrong]


def _lacks_unit(unit: str, names: Sequence[str], after: str) -> bool:
    """Whether a unit is surely not after a number, given its names in the target language and the text after it."""
    names = [name.translate(_BASE_LETTERS) for name in names]
    following = _WORDS.findall(after.translate(_BASE_LETTERS))
    if not names or following[:1] == [unit.lower()]:
        return False
    return not any(_is_same(word, name) for word in following for name in names)


def _is_same(word: str, unit: str) -> bool:
    """Whether a word is a unit, also one that is inflected, in a compound, or cut as `Kilo` is."""
    if word == unit:
        return True
    # The unit may lose two letters to an ending, but has at least three.
    stem = unit[: max(3, len(unit) - 2)]
    if len(unit) > 2 and word.startswith(stem):
        return True
    return len(word) > 3 and unit.startswith(word.removesuffix("s"))
