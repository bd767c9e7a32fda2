"""How a span reads in the target language, and by what it is recognised in a translation.

From English to German, numbers, amounts, dates and times change by rule. Only what is surely right is changed: a date
such as 03/05/2024, a version and a plain decimal after a name stay as they are. Between other languages, spans stay as
they are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slimseq.inference.protection.spans import CURRENCY_CODE, CURRENCY_SIGN, NUMERAL, Kind, Span
from slimseq.inference.protection.typography import SPACES, typed, with_plain_spaces

# Kinds whose text never changes, and that models rarely copy.
EXACT = frozenset({Kind.KEPT, Kind.CODE, Kind.TAG, Kind.URL, Kind.EMAIL, Kind.PHONE, Kind.PRIMES, Kind.SYMBOL})
# Models rarely copy more digits in a row.
MAX_DIGITS = 6
# Such as COVID-19.
MAX_IDENTIFIER_CHARACTERS = 8
# Characters before a span that are looked at.
WORD_BEFORE = 30

_NUMERAL = re.compile(NUMERAL)
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")
_MONTH = re.compile("[A-Z][a-z]{2}")
_DAY = re.compile(r"(?<![0-9])([0-9]{1,2})(?![0-9])")
_YEAR = re.compile(r"[0-9]{4}")
_CLOCK = re.compile(r"([0-9]{1,2})(?:[:.]([0-9]{2}))?(?::[0-9]{2})?")
_MONEY = re.compile(rf"{CURRENCY_SIGN}|{CURRENCY_CODE}")
_SCALE = re.compile(r"thousand|million|billion|trillion|bn|tn|mn|[mMbBkK](?!\w)")
_CAPITALISED_BEFORE = re.compile(
    r"(?:\b[A-Z]\w*|\b(?:version|section|chapter|figure|table|release|step|level|page|part|v))[ \u00a0]$"
)
_GERMAN_MONTHS = {
    "Jan": "Januar",
    "Feb": "Februar",
    "Mar": "März",
    "Apr": "April",
    "May": "Mai",
    "Jun": "Juni",
    "Jul": "Juli",
    "Aug": "August",
    "Sep": "September",
    "Oct": "Oktober",
    "Nov": "November",
    "Dec": "Dezember",
}
_SHORT_SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "tn": "trillion"}
# One, several, and what an output may have.
_GERMAN_SCALES = {
    "thousand": ("Tausend", "Tausend", ("tausend", "tsd", "000")),
    "million": ("Million", "Millionen", ("million", "mio")),
    "billion": ("Milliarde", "Milliarden", ("milliarde", "mrd")),
    "trillion": ("Billion", "Billionen", ("billion", "bio.")),
}
_MONEY_WORDS = {
    "$": ("$", "dollar", "usd"),
    "£": ("£", "pfund", "gbp"),
    "€": ("€", "euro", "eur"),
    "¥": ("¥", "yen", "jpy"),
    "₹": ("₹", "rupie", "inr"),
    "₽": ("₽", "rubel"),
    "USD": ("usd", "dollar", "$"),
    "EUR": ("eur", "€"),
    "GBP": ("gbp", "pfund", "£"),
    "CHF": ("chf", "franken"),
}
_GERMAN_UNITS = {
    "km": ("kilometer", "kilometern"),
    "m": ("meter", "metern"),
    "cm": ("zentimeter", "zentimetern"),
    "mm": ("millimeter", "millimetern"),
    "km/h": ("kilometer", "kilometern", "stundenkilometer"),
    "kg": ("kilogramm", "kilo"),
    "g": ("gramm",),
    "mg": ("milligramm",),
    "l": ("liter", "litern"),
    "ml": ("milliliter",),
    "mph": ("meilen",),
    "s": ("sekunde", "sekunden", "sek"),
    "min": ("minute", "minuten"),
    "h": ("stunde", "stunden", "std"),
    "°C": ("grad", "°"),
    "°F": ("grad", "°"),
    "°": ("grad", "°c"),
}
_GERMAN_BETWEEN = {" to ": " bis ", " until ": " bis ", " and ": " und "}
_MINUS = "-\u2212"
_MIDDAY = 12


@dataclass(frozen=True)
class Numeral:
    """A number in a span: how the target language writes it, and the forms that an output may have.

    One of `units`, in lower case, has to follow if there are any; `unit` is what to write.
    """

    localized: str
    forms: frozenset[str]
    unit: str = ""
    units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rendering:
    """A span in the target language.

    Args:
        text: what stands for the span where it is put back.
        numerals: each must be in the output.
        words: of each group, one must be in the output, in lower case.
    """

    text: str
    numerals: tuple[Numeral, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()


def is_exact(span: Span) -> bool:
    """Whether a span never changes and models rarely copy it."""
    if span.kind in EXACT:
        return True
    if span.kind is Kind.IDENTIFIER and len(span.text) > MAX_IDENTIFIER_CHARACTERS:
        return True
    return any(len(digits) > MAX_DIGITS for digits in re.findall("[0-9]+", span.text))


def rendering(span: Span, source: str, target: str, before: str = "") -> Rendering:
    """Returns how a span reads in the target language.

    Args:
        span: the span.
        source: language code of its text.
        target: language code of the output.
        before: the text before the span, which may say that it is the number of a version or a section.
    """
    if is_exact(span):
        return Rendering(span.text, words=((span.text.lower(),),))
    if (source, target) != ("en", "de"):
        matches = _NUMERAL.finditer(typed(span.text))
        return Rendering(span.text, tuple(_kept(span.text[slice(*match.span())]) for match in matches))
    span = replace(span, text=typed(span.text))
    if span.kind is Kind.DATE and (month := _MONTH.search(span.text)):
        return _date(span.text, month[0])
    if span.kind is Kind.TIME:
        return _time(span.text)
    if span.kind is Kind.IDENTIFIER:
        numerals = tuple(_kept(each) for each in _NUMERAL.findall(span.text))
        return Rendering(span.text, numerals, ((span.text.lower(),),))
    return _number(span, before)


def renderings_of(text: str, spans: Sequence[Span], source: str, target: str) -> list[Rendering]:
    """Returns how the spans of a text read in the target language."""
    return [rendering(each, source, target, text[max(each.start - WORD_BEFORE, 0) : each.start]) for each in spans]


def render_all(text: str, spans: Sequence[Span], source: str, target: str) -> str:
    """Returns a text with its spans as the target language writes them."""
    return with_renderings(text, spans, renderings_of(text, spans, source, target))


def with_renderings(text: str, spans: Sequence[Span], renderings: Sequence[Rendering]) -> str:
    """Returns a text with renderings in place of its spans."""
    pieces, start = [], 0
    for span, each in zip(spans, renderings, strict=True):
        pieces += [text[start : span.start], each.text]
        start = span.end
    return "".join([*pieces, text[start:]])


def _kept(numeral: str) -> Numeral:
    """Returns a numeral that stays as it is. An output may have its separators in another way."""
    plain = typed(numeral)
    swapped = plain.translate(str.maketrans(",.", ".,"))
    forms = {numeral, with_plain_spaces(numeral), plain, swapped, re.sub(",(?=[0-9]{3})", "", plain)}
    return Numeral(numeral, frozenset(forms))


def _german(numeral: str, is_measure: bool) -> Numeral:
    """Returns an English numeral in German. `is_measure`: a dot in it is surely that of a decimal."""
    swapped = numeral.translate(str.maketrans(",.", ".,"))
    if _GROUPED.fullmatch(numeral):
        return Numeral(swapped, frozenset({swapped, swapped.replace(".", "")}))
    if _DECIMAL.fullmatch(numeral):
        return Numeral(swapped, frozenset({swapped})) if is_measure else Numeral(numeral, frozenset({numeral, swapped}))
    if numeral.isdecimal() and len(numeral) > 4:
        return Numeral(numeral, frozenset({numeral, f"{int(numeral):,}".replace(",", ".")}))
    return Numeral(numeral, frozenset({numeral}))


def _number(span: Span, before: str) -> Rendering:
    """Returns an amount, a percentage, a quantity, an ordinal or a number in German."""
    found = _NUMERAL.findall(span.text)
    scale = _SCALE.search(span.text) if span.kind in (Kind.AMOUNT, Kind.NUMBER) else None
    is_measure = scale is not None or span.kind in (Kind.AMOUNT, Kind.PERCENT, Kind.QUANTITY)
    is_sure = is_measure or (len(found) == 1 and not _CAPITALISED_BEFORE.search(before))
    numerals = [_german(each, is_measure) for each in found]
    text = _NUMERAL.sub(lambda match: _german(match[0], is_sure).localized, span.text)
    words: list[Sequence[str]] = []
    if scale is not None:
        one, several, accepted = _GERMAN_SCALES[_SHORT_SCALES.get(scale[0].lower(), scale[0])]
        word = one if numerals[0].localized == "1" else several
        text = re.sub(f"[{SPACES}-]?" + re.escape(scale[0]), f" {word}", text, count=1)
        words.append(accepted)
        if word == "Tausend":
            numerals = [Numeral(each.localized, each.forms | {f"{each.localized}.000"}) for each in numerals]
    if span.text[0] in _MINUS:
        words.append((*(f"{minus}{numerals[0].localized}" for minus in _MINUS), "minus", "\u2013"))
    if span.kind is Kind.AMOUNT and (money := _MONEY.search(text)):
        sign = text[0] if text[0] in "-+\u2212" else ""
        amount = (text[: money.start()] + text[money.end() :]).strip(f"{SPACES}+-\u2212")
        text = f"{sign}{amount} {money[0]}"
        code = money[0]
        words.append(_MONEY_WORDS.get(code, _MONEY_WORDS.get(code[-1], (code.lower(),))))
    elif span.kind is Kind.QUANTITY:
        unit = span.text[span.text.rindex(found[-1]) + len(found[-1]) :].strip(SPACES)
        units = (unit.lower(), *_GERMAN_UNITS.get(unit, ()))
        numerals = [replace(each, unit=unit, units=units) for each in numerals]
    elif span.kind is Kind.PERCENT:
        text = re.sub(f"[{SPACES}]?%", " %", text)
        words.append(("%", "prozent"))
    elif span.kind is Kind.ORDINAL:
        text = f"{found[0]}."
    return Rendering(text, tuple(numerals), tuple(tuple(each) for each in words))


def _date(text: str, month: str) -> Rendering:
    """Returns a date with the name of a month in German, such as "5. März 2024"."""
    year, day = _YEAR.search(text), _DAY.search(text)
    name = _GERMAN_MONTHS[month]
    parts = [f"{day[1]}." if day else "", name, year[0] if year else ""]
    numerals = [Numeral(each, frozenset({each, f"0{each}"})) for each in ([day[1]] if day else [])]
    numerals += [Numeral(each, frozenset({each})) for each in ([year[0]] if year else [])]
    text = " ".join(filter(None, parts)).lower()
    written = (text, text.replace(".", ""), f"0{text}", text.replace(name.lower(), f"{name[:3].lower()}."))
    return Rendering(" ".join(filter(None, parts)), tuple(numerals), (written,))


def _time(text: str) -> Rendering:
    """Returns a time of day, or two such as "5 to 7 p.m.", in German, such as "15:30 Uhr"."""
    clocks = list(_CLOCK.finditer(text))
    half = text[clocks[-1].end() :].strip(f"{SPACES}.").lower()[:1]
    if not half:
        forms = {text, text.replace(":", ".")} if text.count(":") == 1 else {text}
        return Rendering(text, (Numeral(text, frozenset(forms)),))
    if not all(1 <= int(clock[1]) <= _MIDDAY for clock in clocks):
        return Rendering(text, tuple(_kept(each) for each in _NUMERAL.findall(text)))
    first, last = ((int(clock[1]) % _MIDDAY, clock[2] or "00") for clock in (clocks[0], clocks[-1]))
    numerals = [_german_time(clocks[-1], is_afternoon=half == "p")]
    if len(clocks) == 1:
        return Rendering(f"{numerals[0].localized} Uhr", tuple(numerals))
    # 9 to 5 p.m. begins in the morning.
    numerals.insert(0, _german_time(clocks[0], is_afternoon=(half == "p") is (first < last)))
    between = text[clocks[0].end() : clocks[-1].start()]
    between = _GERMAN_BETWEEN.get(with_plain_spaces(between), between)
    return Rendering(f"{numerals[0].localized}{between}{numerals[1].localized} Uhr", tuple(numerals))


def _german_time(clock: re.Match[str], is_afternoon: bool) -> Numeral:
    """Returns a time of the twelve-hour clock in German, without the word "Uhr"."""
    hour, minute = int(clock[1]) % _MIDDAY + (_MIDDAY if is_afternoon else 0), clock[2]
    written = f"{hour}:{minute}" if minute else str(hour)
    return Numeral(written, frozenset({written, written.replace(":", "."), written.zfill(len(written) + (hour < 10))}))
