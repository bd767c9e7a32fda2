"""Finds the spans of a text that a translation must not change: numbers, dates, URLs, code, tags and their like.

The search is linear in the length of the text, whatever the text is: quantifiers are possessive or bounded, and each
alternative starts only where a word does. `slimseq.inference.text.localization` says how a span reads in the
target language.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from slimseq.inference.text.notation import CURRENCY_CODE, CURRENCY_SIGN, find_notation
from slimseq.inference.text.numbers import NUMERAL, typed, with_plain_spaces

Range = tuple[int, int]

# Characters that are searched for spans at once, which holds the interpreter lock: a few milliseconds.
WINDOW_CHARACTERS = 2000
# Characters whose words are looked for at once. A search of a million spaces, or a list of as many words that is freed,
# would hold the interpreter lock.
WORD_WINDOW_CHARACTERS = 10_000
# Limit of the punctuation that is taken off a URL's end. More of it is part of the URL.
MAX_LAST = 1000


class SpanKind(StrEnum):
    # A range that a caller protects, whatever it looks like.
    KEPT = "kept"
    # A term of a glossary.
    TERM = "term"
    # A word that the model cannot write.
    WORD = "word"
    # A name that the model may misspell.
    NAME = "name"
    CODE = "code"
    TAG = "tag"
    URL = "url"
    EMAIL = "email"
    PHONE = "phone"
    PRIMES = "primes"
    SYMBOL = "symbol"
    DATE = "date"
    TIME = "time"
    AMOUNT = "amount"
    PERCENT = "percent"
    QUANTITY = "quantity"
    ORDINAL = "ordinal"
    IDENTIFIER = "identifier"
    NUMBER = "number"


class ProtectedSpan(NamedTuple):
    """A span of a text from a start to an end. `target` is what stands for a term in the translation."""

    start: int
    end: int
    kind: SpanKind
    text: str
    target: str = ""

    def moved(self, offset: int) -> "ProtectedSpan":
        return self._replace(start=self.start + offset, end=self.end + offset)


def overlaps(place: Range, others: Sequence[Range]) -> bool:
    return any(start < place[1] and place[0] < end for start, end in others)


def replaced(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """Returns a text with other words from a start to an end, at places in reading order."""
    pieces, position = [], 0
    for start, end, words in changes:
        pieces += [text[position:start], words]
        position = end
    return "".join([*pieces, text[position:]])


# The rules below are parts of regular expressions. First, what several of them have.
_SHORT_NUMBER = r"[0-9]{1,4}(?:[.,][0-9]{1,6})?"
MONTH = (
    r"(?:Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?|Aug(?:ust|\.)?"
    r"|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"
)
_CLOCK = r"[0-9]{1,2}(?:[:.][0-9]{2})?"
SCALE = r"(?:thousand|million|billion|trillion)"
UNIT = (
    r"(?:km/h|km²|km|cm|mm|nm|m²|m³|m/s|m|mg|µg|kg|g|ml|cl|dl|l|[kKMGT]i?B|[kMG]bit/s|[kMG]?Hz|[kMG]?Wh?|[mk]?V|mA|mAh"
    r"|°C|°F|°|mph|dpi|px|ms|fps|kcal|hPa)"
)
# Units that need a space before them: `1990s` is a decade.
_SPACED_UNIT = "(?:s|min|h)"
_DOMAIN = "com|org|net|edu|gov|info|io|dev|app|ai|eu|uk|de|at|ch|co"
_FILE = (
    "py|js|ts|json|ya?ml|toml|txt|md|html?|css|csv|tsv|xml|pdf|docx?|xlsx?|png|jpe?g|gif|svg|zip|gz|exe|sh|conf|cfg|ini|log"
    "|sql|java|cpp|rs"
)
_SUFFIX = r"(?:st|nd|rd|th)"
# What may not be beside the digits of a span: a word, or more of the same number.
_BEFORE = r"(?<![\w])(?<![0-9][.,])"
_AFTER = r"(?!\w|[.,][0-9])"
_SIGN = r"(?:(?<![\w.,)\]])[-\u2212+](?=[0-9$£€¥]))?"

# What few training texts of models have: fractions, symbols and emoji, and words with a trademark.
_FRACTION = r"[\u00bc-\u00be\u2150-\u215e]"
_EMOJI = (
    r"[\u00a9\u00ae\u00b1\u00b7\u00d7\u00f7\u2020-\u2023\u2030\u2100-\u214f\u215f-\u218b\u2190-\u23ff\u2460-\u27ff"
    # Variation selectors, joiners and tags of flags may follow.
    r"\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff][\u200d\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f]*+"
)

# Spans of any length. A match ends where the next one may begin, so that no character is read twice.
_CODE_SPAN = r"``(?:[^`\n]++|`(?!`))++``|`[^`\n]++`"
# An element of code whole, else single tags.
_TAG = (
    "|".join(rf"<{name}>[^<>\n]++</{name}>" for name in ("code", "kbd", "samp", "pre"))
    + r"|</?[A-Za-z][^<>\n]*+>|<!--(?:[^<>\n]++|<(?!!--))*+>"
)
_EMAIL = r"(?<![\w.+%-])[\w.%+-]++@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])"

# The rules of texts in any language.
_ANY_LANGUAGE = {
    SpanKind.CODE: (
        _CODE_SPAN + r"|\$?\{\{?+[ ]?[\w.\-:!\[\]]{0,60}+[ ]?\}\}?"
        r"|(?<![\w%])%(?:\([A-Za-z_]\w{0,40}+\)|[0-9]\$)?[sdifx](?!\w)"
        r"|&(?:\#[0-9]{1,7}|\#x[0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,15});"
    ),
    SpanKind.TAG: _TAG,
    SpanKind.EMAIL: _EMAIL,
    SpanKind.URL: (
        r"(?<![\w@/])(?:[A-Za-z][A-Za-z0-9+]{1,20}+://|www\.)[^\s<>\"`]++"
        r"|(?<![\w@.-])(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.)+"
        rf"(?:{_DOMAIN})(?![\w@-]|\.\w)(?:/[^\s<>\"`]*+)?"
        # Names of files.
        rf"|(?<![\w/.@-])[\w/-]{{1,60}}+(?:\.[\w/-]{{1,60}}+){{0,8}}?\.(?:{_FILE})(?![\w@-]|\.\w)"
    ),
    SpanKind.PHONE: (
        r"(?<![\w+])\+(?=(?:[ ()/.-]{0,2}[0-9]){7})[0-9]{1,15}(?:(?:[ /.-]|[ ]?\(|\)[ ]?)[0-9]{1,12}){0,7}(?!\w)"
        r"|(?<![\w(])\((?=(?:[ ()-]{0,2}[0-9]){7})[0-9]{2,5}\)[ -]?[0-9]{2,8}(?:[ -][0-9]{2,8}){0,3}(?![\w])"
        rf"|{_BEFORE}(?<!-)(?:1-)?[0-9]{{3}}[-. ][0-9]{{3}}[-. ][0-9]{{4}}{_AFTER}(?!-)"
        rf"|{_BEFORE}(?<!-)0[0-9]{{2,4}}[ /-][0-9]{{3,9}}(?:[ -][0-9]{{2,6}}){{0,3}}{_AFTER}(?!-)"
    ),
    # Feet and inches, degrees with minutes and seconds.
    SpanKind.PRIMES: (
        rf"{_SIGN}{_BEFORE}(?:[0-9]{{1,3}}° ?)?{_SHORT_NUMBER}"
        rf"(?:['\u2019\u2032] ?{_SHORT_NUMBER}(?:[\"\u201d\u2033]|'')|[\u2032-\u2034])(?: ?[NESW])?(?!\w)"
    ),
    SpanKind.DATE: (
        rf"{_BEFORE}(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:T[0-9]{{2}}:[0-9]{{2}}[0-9:.+Z-]{{0,20}})?"
        rf"|[0-9]{{1,2}}/[0-9]{{1,2}}/[0-9]{{2,4}}|[0-9]{{1,2}}\.[0-9]{{1,2}}\.[0-9]{{4}}){_AFTER}"
    ),
    # 15h30 is a time in French and Portuguese.
    SpanKind.TIME: rf"{_BEFORE}(?<!:)[0-9]{{1,2}}(?:h[0-9]{{2}}|:[0-9]{{2}}(?::[0-9]{{2}})?)(?!:?[0-9]){_AFTER}",
    SpanKind.AMOUNT: (
        rf"{_SIGN}(?<![\w$])(?:{CURRENCY_SIGN}|{CURRENCY_CODE})[ ]?{NUMERAL}{_AFTER}"
        rf"|{_SIGN}{_BEFORE}{NUMERAL}[ ]?(?:[€£¥₹₽$](?![0-9])|{CURRENCY_CODE}(?!\w))"
    ),
    SpanKind.PERCENT: rf"{_SIGN}{_BEFORE}{NUMERAL}[ ]?%",
    SpanKind.QUANTITY: rf"{_SIGN}{_BEFORE}{NUMERAL}(?:[ ]?{UNIT}|[ ]{_SPACED_UNIT})(?![\w/²³])",
    SpanKind.IDENTIFIER: (
        r"(?<!\w)[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)"
        r"|(?<![\w-])(?:[A-Z]{1,12}-(?=[0-9])|[^\W0-9]{1,40}+(?=[0-9]))\w++(?:[-._](?=\w{0,40}[0-9])\w++)*+"
        rf"|{_BEFORE}[0-9]++(?:[A-Z]|[A-Za-z]{{1,40}}+[0-9])\w*+"
    ),
    SpanKind.NUMBER: rf"{_SIGN}(?<![0-9])(?<![0-9][.,]){NUMERAL}(?:[-\u2013/:]{NUMERAL})*+",
}
# The rules of texts that are not in ASCII.
_BEYOND_ASCII = {
    # A letter with primes, such as the name of a derivative.
    SpanKind.PRIMES: r"(?<!\w)[A-Za-z][\u2032-\u2034]++(?!\w)",
    SpanKind.SYMBOL: (
        rf"(?<![\w.,])(?:[0-9]{{1,4}}[ ]?)?{_FRACTION}(?!\w)|(?<!\w)[0-9\#*]\ufe0f?\u20e3"
        rf"|(?:{_EMOJI})++(?:[ ](?:{_EMOJI})++)*+|(?<!\w)[^\W\d]\w{{0,40}}+[\u00a9\u00ae\u2120\u2122](?!\w)"
    ),
}
# The rules of English texts.
_ENGLISH = {
    SpanKind.DATE: (
        rf"(?<!\w){MONTH} [0-9]{{1,2}}{_SUFFIX}?(?![\w]|[.,:]?[0-9])(?:,? ?[0-9]{{4}}(?!\w|[.,]?[0-9]))?"
        rf"|(?<!\w){MONTH},? [0-9]{{4}}(?!\w|[.,:]?[0-9])"
        rf"|{_BEFORE}[0-9]{{1,2}}{_SUFFIX}?(?: of)? {MONTH}(?!\w)(?:,? [0-9]{{4}}(?!\w|[.,]?[0-9]))?"
    ),
    # One time, or two such as "5 to 7 p.m.". The last dot may be the full stop of the sentence too.
    SpanKind.TIME: (
        rf"{_BEFORE}(?<!:)(?:{_CLOCK}(?:[ ]?[-\u2013\u2014][ ]?| to | until )"
        rf"|(?<=etween ){_CLOCK} and )?{_CLOCK}[ ]?"
        r"(?:[ap]m|[AP]M|[ap]\.m(?:\.(?=[ ,;)]*[^\s,;)]))?|[AP]\.M(?:\.(?=[ ,;)]*[^\s,;)]))?)(?!\w)"
    ),
    SpanKind.AMOUNT: (
        rf"{_SIGN}(?<![\w$])(?:{CURRENCY_SIGN}|{CURRENCY_CODE})[ ]?{NUMERAL}"
        rf"(?:[ -]{SCALE}|[ ]?(?:bn|tn|mn)|[mMbBkK])(?!\w)"
        rf"|{_SIGN}{_BEFORE}{NUMERAL}[ ]{SCALE}[ ](?:[€£¥₹₽$](?![0-9])|{CURRENCY_CODE}(?!\w))"
    ),
    SpanKind.ORDINAL: rf"{_BEFORE}[0-9]{{1,4}}{_SUFFIX}(?!\w)",
    SpanKind.NUMBER: rf"{_SIGN}{_BEFORE}{NUMERAL}[ -]{SCALE}(?!\w)",
}
# The kinds that the rules find, by name. The order matters: the first kind that matches at a place wins.
_KINDS = {kind.value: kind for kind in SpanKind if kind not in (SpanKind.KEPT, SpanKind.TERM)}


def _pattern(*rules: dict[SpanKind, str]) -> re.Pattern[str]:
    """Returns rules as one pattern, with a group for each kind."""
    groups = []
    for kind in _KINDS.values():
        alternatives = "|".join(rule[kind] for rule in rules if kind in rule)
        if alternatives:
            groups.append(f"(?P<{kind.value}>{alternatives})")
    return re.compile("|".join(groups))


# The patterns by whether the text is English, and whether it is in ASCII.
_PATTERNS = {
    (is_english, is_ascii): _pattern(_ENGLISH if is_english else {}, _ANY_LANGUAGE, {} if is_ascii else _BEYOND_ASCII)
    for is_english in (False, True)
    for is_ascii in (False, True)
}
# A text without any of these has no span.
_SIGNS = re.compile(rf"[0-9@<`{{%&/]|www\.|\.(?:{_DOMAIN}|{_FILE})\b")
_SIGNS_BEYOND_ASCII = re.compile(rf"[\u2032-\u2034]|{_FRACTION}|{_EMOJI}")
# Spans that no window may divide, and where one of them may begin.
_INDIVISIBLE = re.compile(f"{_CODE_SPAN}|{_TAG}|{_EMAIL}")
_OPENING = re.compile(r"[`<]|(?<![\w.+%-])[\w.%+-]++(?=@|\Z)")
_LETTER = re.compile(r"[^\W\d_]")
_REST_OF_URL = re.compile(r"[^\s<>\"`]*+")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
# Punctuation at the end of a URL that may be that of its sentence.
_LAST = ".,;:!?'\u2019\u201d\u201c*_" + "".join(_BRACKETS)


def windows(text: str) -> Iterator[Range]:
    """Yields ranges of a text that are searched at once.

    They end at spaces, unless there are none. Code, tags and e-mail addresses are in one window, which may be longer.
    """
    start = 0
    while start < len(text):
        end = start + WINDOW_CHARACTERS
        if end < len(text):
            space = text.rfind(" ", start + WINDOW_CHARACTERS // 2, end)
            end = end if space < 0 else space
            across = _indivisible_across(text, start, end)
            if across is not None:
                # The window ends before what it would divide, or after it if nothing else is in the window.
                across_start, across_end = across
                end = across_start if across_start > start else across_end
        yield start, min(end, len(text))
        start = end


def window_end(text: str, start: int) -> int:
    """Returns where a window of words ends: after a space, unless there is none."""
    end = start + WORD_WINDOW_CHARACTERS
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", start, end)
    return end if space < 0 else space + 1


def _indivisible_across(text: str, start: int, end: int) -> Range | None:
    """Returns the code, tag or e-mail address that begins in a window and goes on after it."""
    while (opening := _OPENING.search(text, start, end)) is not None:
        match = _INDIVISIBLE.match(text, opening.start())
        if match is not None and match.end() > end:
            return match.span()
        start = match.end() if match is not None else opening.end()
    return None


def find_spans(text: str, language: str, window: Range | None = None) -> list[ProtectedSpan]:
    """Returns the spans of a window of a text, in reading order. They do not overlap. A URL may end after the window.

    Months, and words such as "million", are those of the language.
    """
    offset, end = window or (0, len(text))
    notation = find_notation(language)
    is_spaced = notation is not None and notation.is_spaced
    # Only a copy of the window is searched: what is outside, such as the rest of a long number, must not hide what is
    # within. The copy has the length of the window, so that its places are those of the text after the offset.
    searched = with_plain_spaces(typed(text[offset:end], is_spaced=is_spaced))
    is_ascii = searched.isascii()
    if not _SIGNS.search(searched) and (is_ascii or not _SIGNS_BEYOND_ASCII.search(searched)):
        return []
    pattern = _PATTERNS[language == "en", is_ascii]
    found: list[ProtectedSpan] = []
    position = 0
    while (match := pattern.search(searched, position)) is not None and match.lastgroup is not None:
        kind = _KINDS[match.lastgroup]
        start, stop = offset + match.start(), offset + match.end()
        if kind is SpanKind.URL:
            # A URL may go on after the window.
            rest = _REST_OF_URL.match(text, end) if match.end() == len(searched) else None
            stop = _without_punctuation(text, start, rest.end() if rest else stop)
        found.append(ProtectedSpan(start, stop, kind, text[start:stop]))
        position = max(stop - offset, match.start() + 1)
    return found


def with_ranges(text: str, spans: Sequence[ProtectedSpan], ranges: Sequence[Range]) -> list[ProtectedSpan]:
    """Adds ranges that are kept whatever they look like. Spans that overlap with one are dropped."""
    kept = [ProtectedSpan(start, end, SpanKind.KEPT, text[start:end]) for start, end in sorted(ranges) if start < end]
    found: list[ProtectedSpan] = []
    # In reading order, kept ranges before spans that start at the same place.
    for span in sorted([*kept, *spans], key=lambda each: (each.start, each.kind is not SpanKind.KEPT)):
        is_kept = span.kind is SpanKind.KEPT
        while is_kept and found and found[-1].kind is not SpanKind.KEPT and found[-1].end > span.start:
            found.pop()
        if not found or found[-1].end <= span.start:
            found.append(span)
    return found


def without_gaps(spans: Sequence[ProtectedSpan]) -> list[ProtectedSpan]:
    """Joins spans of the same kind with nothing between them, such as the windows of one long number."""
    found: list[ProtectedSpan] = []
    for span in spans:
        if found and found[-1].end == span.start and found[-1].kind is span.kind:
            before = found.pop()
            found.append(before._replace(end=span.end, text=before.text + span.text))
        else:
            found.append(span)
    return found


def has_unprotected_words(text: str, spans: Sequence[ProtectedSpan]) -> bool:
    """Whether a text has a letter outside of its spans, so that there is something to translate."""
    if not spans:
        return _LETTER.search(text) is not None
    ends = [0, *(span.end for span in spans)]
    starts = [*(span.start for span in spans), len(text)]
    return any(_LETTER.search(text, start, end) for start, end in zip(ends, starts, strict=True))


def _without_punctuation(text: str, start: int, end: int) -> int:
    """Returns where a URL ends: before the punctuation of its sentence, and after a bracket that it opens."""
    # By closing bracket, how many more of them than of opening ones the URL has.
    surplus = {
        closing: text.count(closing, start, end) - text.count(opening, start, end)
        for closing, opening in _BRACKETS.items()
    }
    lowest = max(start, end - MAX_LAST)
    while end > lowest and text[end - 1] in _LAST:
        closing = text[end - 1]
        if closing in _BRACKETS:
            if surplus[closing] <= 0:
                break
            surplus[closing] -= 1
        end -= 1
    return end
