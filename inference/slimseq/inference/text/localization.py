"""How a span reads in the target language, and by what it is recognized in a translation.

Numbers, amounts, dates and times are read in the notation of the source language and written in the notation of the
target language (see `notation`). A span is first written as in English, and then as in the target language. Only what
is surely right is changed: a date such as 03/05/2024, a version and a plain decimal after a name stay as they are.
`masking` puts the renderings into a translation, and looks for spans that a model has copied.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slimseq.inference.text.notation import CURRENCY_CODE, CURRENCY_SIGN, UNITS, Notation, find_notation
from slimseq.inference.text.numbers import HALF_A_DAY, NUMERAL, SPACES, typed, with_plain_spaces
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, replaced

# Kinds whose text never changes, and that models rarely copy.
EXACT = frozenset(
    {
        SpanKind.KEPT,
        SpanKind.TERM,
        SpanKind.WORD,
        SpanKind.CODE,
        SpanKind.TAG,
        SpanKind.URL,
        SpanKind.EMAIL,
        SpanKind.PHONE,
        SpanKind.PRIMES,
        SpanKind.SYMBOL,
    }
)
# Digits in a row that models copy. They rarely copy more.
MAX_DIGITS = 6
# An identifier such as COVID-19 is copied up to this length.
MAX_IDENTIFIER_CHARACTERS = 8
# Longer spans stay as they are: no language writes them in its own way. To render a million numerals would hold the
# interpreter.
MAX_RENDERED_CHARACTERS = 1000
# Characters before a number that are searched for the name that it follows, such as "version".
WORD_BEFORE = 30

_NUMERAL = re.compile(NUMERAL)
_LONG_NUMBER = re.compile(f"[0-9]{{{MAX_DIGITS + 1}}}")
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL = re.compile(r"(?<![0-9])[0-9]+\.[0-9]+")
_COMMA_OF_THOUSANDS = re.compile(",(?=[0-9]{3})")
_PERCENT = re.compile(f"[{SPACES}]?%")
_MONTH = re.compile("[A-Z][a-z]{2}")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = re.compile(r"(?<![0-9])([0-9]{1,2})(?![0-9])")
_YEAR = re.compile(r"[0-9]{4}")
_CLOCK = re.compile(r"([0-9]{1,2})(?:[:.h]([0-9]{2}))?(?::[0-9]{2})?")
_MONEY = re.compile(rf"{CURRENCY_SIGN}|{CURRENCY_CODE}")
_SIGN_FIRST = re.compile(rf"({CURRENCY_SIGN})[{SPACES}]?({NUMERAL})((?:[{SPACES}][^\W\d_]+)?)")
# The powers of ten of English words and abbreviations.
_POWERS = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_POWERS |= {"k": 3, "mn": 6, "m": 6, "bn": 9, "b": 9, "tn": 12}
_SCALE = re.compile(rf"[{SPACES}-]?(thousand|million|billion|trillion|bn|tn|mn|[mMbBkK](?!\w))")
# A name or such a word before a number: the number may be a version, whose dot is no decimal point.
_NAME_BEFORE = re.compile(
    r"(?:\b[A-Z]\w*|\b(?:version|section|chapter|figure|table|release|step|level|page|part|v))[ \u00a0]$"
)
# The possessive after a name in English. Germanic languages write it without an apostrophe, as in `Müllers Auto`.
POSSESSIVE = re.compile(r"['\u2019]s(?!\w)")
# Characters after a span that are searched for the possessive.
POSSESSIVE_CHARACTERS = 3
_GERMANIC = frozenset({"da", "de", "nb", "nl", "nn", "no", "sv"})
_MINUS = "-\u2212"
_SIGNS = f"+{_MINUS}"


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
    """A span in the target language, and what an output must have so that the span is not lost.

    Args:
        text: what is written where the span is put back.
        numerals: an output must have each of these.
        words: groups of words in lower case. An output must have one word of each group.
        copied: an amount with its currency sign first, as a model may copy it from English. `put_signs` replaces it.
        name: a name that an output must have, if there is one.
        may_end_in_s: whether the name may have an `s` at its end, as a German genitive has.
    """

    text: str
    numerals: tuple[Numeral, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    copied: str = ""
    name: str = ""
    may_end_in_s: bool = False


def is_exact(span: ProtectedSpan) -> bool:
    """Whether a span never changes and models rarely copy it."""
    if span.kind in EXACT or len(span.text) > MAX_RENDERED_CHARACTERS:
        return True
    is_long = span.kind is SpanKind.IDENTIFIER and len(span.text) > MAX_IDENTIFIER_CHARACTERS
    return is_long or _LONG_NUMBER.search(span.text) is not None


def render(span: ProtectedSpan, source: str, target: str, before: str = "", after: str = "") -> Rendering:
    """Returns how a span reads in the target language, given the text before it and after it."""
    if is_exact(span):
        written = span.target or span.text
        return Rendering(written, words=((written.lower(),),))
    if span.kind is SpanKind.NAME:
        has_genitive = target in _GERMANIC and POSSESSIVE.match(after) is not None
        return Rendering(span.text, name=span.text, may_end_in_s=has_genitive)
    source_notation, target_notation = find_notation(source), find_notation(target)
    numerals = _NUMERAL.findall(span.text) if source != "en" else []
    if source_notation is None or target_notation is None:
        return _keep_all(span.text)
    if not all(map(source_notation.numeral.fullmatch, numerals)):
        # The dots of a date, for example, are no separators of a number.
        return _keep_all(span.text)
    if span.kind is SpanKind.IDENTIFIER:
        return replace(_keep_all(span.text), words=((span.text.lower(),),))

    in_english = _NUMERAL.sub(lambda match: source_notation.in_english(match[0]), span.text)
    span = span._replace(text=typed(in_english, is_spaced=source_notation.is_spaced))
    month = _MONTH.search(span.text)
    if span.kind is SpanKind.DATE and month:
        return _render_date(span.text, month[0], target_notation)
    if span.kind is SpanKind.TIME:
        return _render_time(span.text, target_notation)
    return _render_number(span, before, target_notation, is_sure=source_notation.decimal != ".")


def render_each(text: str, spans: Sequence[ProtectedSpan], source: str, target: str) -> list[Rendering]:
    """Returns how the spans of a text read in the target language."""
    renderings = []
    for span in spans:
        before = text[max(span.start - WORD_BEFORE, 0) : span.start]
        after = text[span.end : span.end + POSSESSIVE_CHARACTERS]
        renderings.append(render(span, source, target, before, after))
    return renderings


def render_all(text: str, spans: Sequence[ProtectedSpan], source: str, target: str) -> str:
    """Returns a text without words, such as a line of numbers, in the target language."""
    return insert_renderings(text, spans, render_each(text, spans, source, target))


def insert_renderings(text: str, spans: Sequence[ProtectedSpan], renderings: Sequence[Rendering]) -> str:
    pairs = zip(spans, renderings, strict=True)
    return replaced(text, ((span.start, span.end, each.text) for span, each in pairs))


def put_signs(output: str, renderings: Sequence[Rendering]) -> str:
    """Returns a translation with the currency signs after the amounts, where its language has them there."""
    by_copied = {each.copied: each.text.lstrip(_SIGNS) for each in renderings if each.copied}
    if not by_copied:
        return output

    def place_sign(match: re.Match[str]) -> str:
        amount, following = match[1] + match[2], match[3]
        if amount + following in by_copied:
            # The word after the number, such as a word for millions, is part of the amount.
            return by_copied[amount + following]
        if amount in by_copied:
            return by_copied[amount] + following
        return match[0]

    return _SIGN_FIRST.sub(place_sign, output)


def _keep(numeral: str) -> Numeral:
    """Returns a numeral that stays as it is. An output may have other separators."""
    plain = typed(numeral)
    swapped = plain.translate(str.maketrans(",.", ".,"))
    forms = {numeral, with_plain_spaces(numeral), plain, swapped, _COMMA_OF_THOUSANDS.sub("", plain)}
    return Numeral(numeral, frozenset(forms))


def _keep_all(text: str) -> Rendering:
    # `typed` keeps the length of a text, so that its numerals are at the same places.
    places = [match.span() for match in _NUMERAL.finditer(typed(text))]
    return Rendering(text, tuple(_keep(text[start:end]) for start, end in places))


def _localize(numeral: str, notation: Notation, *, is_measure: bool) -> Numeral:
    """Returns an English numeral in the target language. `is_measure`: a dot in it is surely a decimal point.

    If this is not sure, a numeral with a dot stays as it is, and an output may have both forms.
    """
    localized = notation.number(numeral)
    if _GROUPED.fullmatch(numeral):
        return Numeral(localized, notation.forms(numeral))
    if _DECIMAL.fullmatch(numeral):
        if is_measure:
            return Numeral(localized, frozenset({localized}))
        return Numeral(numeral, frozenset({localized, numeral}))
    may_be_year = len(numeral) <= 4
    if numeral.isdecimal() and not may_be_year:
        # A model may add separators of thousands.
        return Numeral(numeral, notation.forms(f"{int(numeral):,}"))
    return Numeral(numeral, frozenset({numeral}))


def _render_number(span: ProtectedSpan, before: str, notation: Notation, *, is_sure: bool) -> Rendering:
    """Returns an English span in the target language. `is_sure`: a dot in it is surely a decimal point."""
    found = _NUMERAL.findall(span.text)
    scale = _SCALE.search(span.text) if span.kind in (SpanKind.AMOUNT, SpanKind.NUMBER) else None
    is_measure = scale is not None or span.kind in (SpanKind.AMOUNT, SpanKind.PERCENT, SpanKind.QUANTITY)
    is_sure = is_sure or is_measure or (len(found) == 1 and not _NAME_BEFORE.search(before))
    text = span.text
    words: list[tuple[str, ...]] = []
    copied = ""

    # The number and its scale, such as 3.2 billion, in the target language.
    power = 0
    if scale is not None:
        power = _POWERS[scale[1].lower()]
        value, word = notation.scaled(found[0], power)
        text = f"{text[: scale.start()].replace(found[0], value)}{word}{text[scale.end() :]}"
        found = [value]
        if word:
            words.append(notation.scale_words[power])
    numerals = [_localize(each, notation, is_measure=is_measure) for each in found]
    text = _NUMERAL.sub(lambda match: _localize(match[0], notation, is_measure=is_sure).localized, text)
    if power == _POWERS["thousand"]:
        # A model may write 3,000 for 3 thousand.
        numerals = [replace(each, forms=each.forms | notation.forms(f"{found[0]},000")) for each in numerals]

    # What stands before and after the number.
    if text[0] in _MINUS:
        # The minus may be a sign, a word or a dash.
        signed = [f"{minus}{numerals[0].localized}" for minus in _MINUS]
        words.append((*signed, "minus", "\u2013"))
    money = _MONEY.search(text) if span.kind is SpanKind.AMOUNT else None
    if money:
        text, copied = _place_currency(text, money, notation)
        words.append(notation.currency_names(money[0]))
    elif span.kind is SpanKind.QUANTITY:
        _, _, after_number = span.text.rpartition(found[-1])
        unit = after_number.strip(SPACES)
        units = (unit.lower(), *notation.unit_words(UNITS.get(unit)))
        numerals = [replace(each, unit=unit, units=units) for each in numerals]
    elif span.kind is SpanKind.PERCENT:
        text = _PERCENT.sub(notation.percent or "%", text)
        words.append(("%", *notation.percent_words))
    elif span.kind is SpanKind.ORDINAL and notation.ordinal:
        text = f"{found[0]}{notation.ordinal}"
    return Rendering(text, tuple(numerals), tuple(words), copied)


def _place_currency(text: str, money: re.Match[str], notation: Notation) -> tuple[str, str]:
    """Returns an amount with its currency where the language writes it, and how a model may copy it from English."""
    currency = money[0]
    is_code = currency.isalpha()
    amount = (text[: money.start()] + text[money.end() :]).strip(SPACES + _SIGNS)
    sign = text[0] if text[0] in _SIGNS else ""
    if notation.has_currency_after:
        copied = "" if is_code else currency + amount
        return f"{sign}{amount} {currency}", copied
    space = " " if is_code else notation.currency_space
    return f"{sign}{currency}{space}{amount}", ""


def _render_date(text: str, month: str, notation: Notation) -> Rendering:
    """Returns an English date with the name of a month in the target language."""
    year, day = _YEAR.search(text), _DAY.search(text)
    written = notation.dates(day[1] if day else None, _MONTHS.index(month) + 1, year[0] if year else None)
    if not written:
        return _keep_all(text)
    numerals = []
    if day:
        numerals.append(Numeral(day[1], frozenset({day[1], f"0{day[1]}"})))
    if year:
        numerals.append(Numeral(year[0], frozenset({year[0]})))
    return Rendering(written[0], tuple(numerals), (tuple(map(str.lower, written)),))


def _render_time(text: str, notation: Notation) -> Rendering:
    """Returns a time of day, or two such as "5 to 7 p.m.", in the target language, such as "15:30 Uhr"."""
    clocks = list(_CLOCK.finditer(text))
    first_clock, last_clock = clocks[0], clocks[-1]
    # The "a" or "p" of "a.m." or "p.m.", or nothing after a time of 24 hours.
    half_of_day = text[last_clock.end() :].strip(f"{SPACES}.").lower()[:1]
    if not half_of_day:
        return _render_24_hours(text, first_clock, notation)
    if notation.hour_separator is None or not all(1 <= int(clock[1]) <= HALF_A_DAY for clock in clocks):
        return _keep_all(text)
    last = _render_clock(last_clock, notation, is_afternoon=half_of_day == "p")
    is_full_hour = last_clock[2] is None
    after = notation.after_hour if is_full_hour and notation.after_hour else notation.after_minute
    if len(clocks) == 1:
        return Rendering(last.localized + after, (last,))

    # Both are in the same half of the day if the first one is earlier in it. So 9 to 5 p.m. begins in the morning.
    is_same_half = _time_of_half_day(first_clock) < _time_of_half_day(last_clock)
    is_first_afternoon = (half_of_day == "p") is is_same_half
    first = _render_clock(first_clock, notation, is_afternoon=is_first_afternoon)
    between = with_plain_spaces(text[first_clock.end() : last_clock.start()])
    between = {" to ": "\u2013", " until ": "\u2013", " and ": notation.both}.get(between, between)
    return Rendering(f"{first.localized}{between}{last.localized}{after}", (first, last))


def _render_24_hours(text: str, clock: re.Match[str], notation: Notation) -> Rendering:
    """Returns a time such as 15:30 or 15h30 in the target language."""
    written = text.replace("h", notation.hour_separator or ":")
    has_seconds = text.count(":") > 1
    forms = {text} if has_seconds else {written, written.replace(":", ".")}
    if notation.hour_separator is None:
        # The target language counts twelve hours: 15:30 may be 3:30 p.m.
        hour = clock[1]
        forms.add(f"{int(hour) % HALF_A_DAY or HALF_A_DAY}{written[len(hour) :]}")
    return Rendering(written, (Numeral(written, frozenset(forms)),))


def _time_of_half_day(clock: re.Match[str]) -> tuple[int, str]:
    """Returns the hours and minutes since midnight or noon."""
    return int(clock[1]) % HALF_A_DAY, clock[2] or "00"


def _render_clock(clock: re.Match[str], notation: Notation, *, is_afternoon: bool) -> Numeral:
    """Returns a time of the twelve-hour clock as one of 24 hours, without a word after it."""
    hours_since_midnight = int(clock[1]) % HALF_A_DAY
    if is_afternoon:
        hours_since_midnight += HALF_A_DAY
    hour = str(hours_since_midnight)
    hours = {hour, hour.zfill(2)}
    minute = clock[2]
    if minute is None and notation.after_hour:
        return Numeral(hour, frozenset(hours))
    forms = {f"{each}{separator}{minute or '00'}" for each in hours for separator in ":.h"}
    if minute is None:
        forms |= hours
    return Numeral(f"{hour}{notation.hour_separator}{minute or '00'}", frozenset(forms))
