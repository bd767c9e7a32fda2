"""The rules for spans that a translation must not change: regular expressions of numbers, dates, URLs and their like.

`spans` searches texts with them. All rules together are one pattern with a group for each kind, so that a text is read
once. A match takes time that is linear in its length: quantifiers are possessive or bounded, and each alternative
starts only where a word does.
"""

import re
from enum import StrEnum

from slimseq.inference.text.notation import CURRENCY_CODE, CURRENCY_SIGN
from slimseq.inference.text.numbers import NUMERAL


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


# First, parts of regular expressions that several rules have. An opening bracket with `?<!` or `?!` says what may not
# be before or after; `++` and `*+` give no character back, so that a search stays linear.
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
# Ends of host names and of file names.
_DOMAIN = "com|org|net|edu|gov|info|io|dev|app|ai|eu|uk|de|at|ch|co"
_FILE = (
    "py|js|ts|json|ya?ml|toml|txt|md|html?|css|csv|tsv|xml|pdf|docx?|xlsx?|png|jpe?g|gif|svg|zip|gz|exe|sh|conf|cfg|ini|log"
    "|sql|java|cpp|rs"
)
# What English writes after an ordinal: 1st, 2nd.
_SUFFIX = r"(?:st|nd|rd|th)"
# What may not be beside the digits of a span: a word, or more of the same number.
_BEFORE = r"(?<![\w])(?<![0-9][.,])"
_AFTER = r"(?!\w|[.,][0-9])"
# The sign of a number. After a word, a number or a closing bracket, the same character is a hyphen or an operator.
_SIGN = r"(?:(?<![\w.,)\]])[-\u2212+](?=[0-9$£€¥]))?"

# What few training texts of models have: fractions, symbols and emoji, and words with a trademark.
_FRACTION = r"[\u00bc-\u00be\u2150-\u215e]"
_EMOJI = (
    r"[\u00a9\u00ae\u00b1\u00b7\u00d7\u00f7\u2020-\u2023\u2030\u2100-\u214f\u215f-\u218b\u2190-\u23ff\u2460-\u27ff"
    # Variation selectors, joiners and tags of flags may follow.
    r"\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff][\u200d\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f]*+"
)

# Spans of any length. A match ends where the next match may begin, so that no character is read twice.
CODE_SPAN = r"``(?:[^`\n]++|`(?!`))++``|`[^`\n]++`"
# A whole element of code such as <kbd>Esc</kbd>, else a single tag or a comment.
TAG = (
    "|".join(rf"<{name}>[^<>\n]++</{name}>" for name in ("code", "kbd", "samp", "pre"))
    + r"|</?[A-Za-z][^<>\n]*+>|<!--(?:[^<>\n]++|<(?!!--))*+>"
)
EMAIL = r"(?<![\w.+%-])[\w.%+-]++@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])"

# The rules of texts in any language.
_ANY_LANGUAGE = {
    SpanKind.CODE: (
        # `code`, ``code with ` in it``.
        CODE_SPAN
        # Placeholders of templates: {name}, {{ name }}, ${name}.
        + r"|\$?\{\{?+[ ]?[\w.\-:!\[\]]{0,60}+[ ]?\}\}?"
        # Placeholders of formats: %s, %1$s, %(name)d.
        r"|(?<![\w%])%(?:\([A-Za-z_]\w{0,40}+\)|[0-9]\$)?[sdifx](?!\w)"
        # Character references: &amp;, &#8364;.
        r"|&(?:\#[0-9]{1,7}|\#x[0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,15});"
    ),
    SpanKind.TAG: TAG,
    SpanKind.EMAIL: EMAIL,
    SpanKind.URL: (
        # https://example.org/page, www.example.org.
        r"(?<![\w@/])(?:[A-Za-z][A-Za-z0-9+]{1,20}+://|www\.)[^\s<>\"`]++"
        # example.org, docs.example.org/page.
        r"|(?<![\w@.-])(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.)+"
        rf"(?:{_DOMAIN})(?![\w@-]|\.\w)(?:/[^\s<>\"`]*+)?"
        # Names of files: report.pdf, src/main.py.
        rf"|(?<![\w/.@-])[\w/-]{{1,60}}+(?:\.[\w/-]{{1,60}}+){{0,8}}?\.(?:{_FILE})(?![\w@-]|\.\w)"
    ),
    SpanKind.PHONE: (
        # +49 30 123456, +1 (555) 123-4567.
        r"(?<![\w+])\+(?=(?:[ ()/.-]{0,2}[0-9]){7})[0-9]{1,15}(?:(?:[ /.-]|[ ]?\(|\)[ ]?)[0-9]{1,12}){0,7}(?!\w)"
        # (030) 123456-78.
        r"|(?<![\w(])\((?=(?:[ ()-]{0,2}[0-9]){7})[0-9]{2,5}\)[ -]?[0-9]{2,8}(?:[ -][0-9]{2,8}){0,3}(?![\w])"
        # 555-123-4567, 1-800-555-0199.
        rf"|{_BEFORE}(?<!-)(?:1-)?[0-9]{{3}}[-. ][0-9]{{3}}[-. ][0-9]{{4}}{_AFTER}(?!-)"
        # 030 123456, 0171/1234567.
        rf"|{_BEFORE}(?<!-)0[0-9]{{2,4}}[ /-][0-9]{{3,9}}(?:[ -][0-9]{{2,6}}){{0,3}}{_AFTER}(?!-)"
    ),
    # Feet and inches such as 5'11", degrees with minutes and seconds such as 52°31'12" N.
    SpanKind.PRIMES: (
        rf"{_SIGN}{_BEFORE}(?:[0-9]{{1,3}}° ?)?{_SHORT_NUMBER}"
        rf"(?:['\u2019\u2032] ?{_SHORT_NUMBER}(?:[\"\u201d\u2033]|'')|[\u2032-\u2034])(?: ?[NESW])?(?!\w)"
    ),
    SpanKind.DATE: (
        # 2024-12-24, 2024-12-24T18:30:00Z; 12/24/2024; 24.12.2024.
        rf"{_BEFORE}(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:T[0-9]{{2}}:[0-9]{{2}}[0-9:.+Z-]{{0,20}})?"
        rf"|[0-9]{{1,2}}/[0-9]{{1,2}}/[0-9]{{2,4}}|[0-9]{{1,2}}\.[0-9]{{1,2}}\.[0-9]{{4}}){_AFTER}"
    ),
    # 15:30, 15:30:20; 15h30 is a time in French and Portuguese.
    SpanKind.TIME: rf"{_BEFORE}(?<!:)[0-9]{{1,2}}(?:h[0-9]{{2}}|:[0-9]{{2}}(?::[0-9]{{2}})?)(?!:?[0-9]){_AFTER}",
    SpanKind.AMOUNT: (
        # $1,299.99, EUR 20.
        rf"{_SIGN}(?<![\w$])(?:{CURRENCY_SIGN}|{CURRENCY_CODE})[ ]?{NUMERAL}{_AFTER}"
        # 20 €, 20 EUR.
        rf"|{_SIGN}{_BEFORE}{NUMERAL}[ ]?(?:[€£¥₹₽$](?![0-9])|{CURRENCY_CODE}(?!\w))"
    ),
    SpanKind.PERCENT: rf"{_SIGN}{_BEFORE}{NUMERAL}[ ]?%",
    SpanKind.QUANTITY: rf"{_SIGN}{_BEFORE}{NUMERAL}(?:[ ]?{UNIT}|[ ]{_SPACED_UNIT})(?![\w/²³])",
    SpanKind.IDENTIFIER: (
        # A UUID.
        r"(?<!\w)[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)"
        # COVID-19, A4, mp3, v2.0-rc1.
        r"|(?<![\w-])(?:[A-Z]{1,12}-(?=[0-9])|[^\W0-9]{1,40}+(?=[0-9]))\w++(?:[-._](?=\w{0,40}[0-9])\w++)*+"
        # 5G, 3d4f.
        rf"|{_BEFORE}[0-9]++(?:[A-Z]|[A-Za-z]{{1,40}}+[0-9])\w*+"
    ),
    # One number, or several such as 3-5, 1/2 and 16:9.
    SpanKind.NUMBER: rf"{_SIGN}(?<![0-9])(?<![0-9][.,]){NUMERAL}(?:[-\u2013/:]{NUMERAL})*+",
}
# The rules of texts that are not in ASCII.
_BEYOND_ASCII = {
    # A letter with primes, such as the name of a derivative.
    SpanKind.PRIMES: r"(?<!\w)[A-Za-z][\u2032-\u2034]++(?!\w)",
    SpanKind.SYMBOL: (
        # A fraction, also after a number: 2½.
        rf"(?<![\w.,])(?:[0-9]{{1,4}}[ ]?)?{_FRACTION}(?!\w)"
        # A keycap: a digit, # or * with a variation selector and a frame.
        r"|(?<!\w)[0-9\#*]\ufe0f?\u20e3"
        rf"|(?:{_EMOJI})++(?:[ ](?:{_EMOJI})++)*+"
        # A word with a trademark.
        r"|(?<!\w)[^\W\d]\w{0,40}+[\u00a9\u00ae\u2120\u2122](?!\w)"
    ),
}
# The rules of English texts.
_ENGLISH = {
    SpanKind.DATE: (
        # December 24, December 24th, 2024.
        rf"(?<!\w){MONTH} [0-9]{{1,2}}{_SUFFIX}?(?![\w]|[.,:]?[0-9])(?:,? ?[0-9]{{4}}(?!\w|[.,]?[0-9]))?"
        # December 2024.
        rf"|(?<!\w){MONTH},? [0-9]{{4}}(?!\w|[.,:]?[0-9])"
        # 24 December 2024, the 24th of December.
        rf"|{_BEFORE}[0-9]{{1,2}}{_SUFFIX}?(?: of)? {MONTH}(?!\w)(?:,? [0-9]{{4}}(?!\w|[.,]?[0-9]))?"
    ),
    # One time, or two such as "5 to 7 p.m." and "between 5 and 7 p.m.". The last dot may also end the sentence.
    SpanKind.TIME: (
        rf"{_BEFORE}(?<!:)(?:{_CLOCK}(?:[ ]?[-\u2013\u2014][ ]?| to | until )"
        rf"|(?<=etween ){_CLOCK} and )?{_CLOCK}[ ]?"
        r"(?:[ap]m|[AP]M|[ap]\.m(?:\.(?=[ ,;)]*[^\s,;)]))?|[AP]\.M(?:\.(?=[ ,;)]*[^\s,;)]))?)(?!\w)"
    ),
    SpanKind.AMOUNT: (
        # $3.2 billion, EUR 5 mn, $5m.
        rf"{_SIGN}(?<![\w$])(?:{CURRENCY_SIGN}|{CURRENCY_CODE})[ ]?{NUMERAL}"
        rf"(?:[ -]{SCALE}|[ ]?(?:bn|tn|mn)|[mMbBkK])(?!\w)"
        # 3.2 billion €.
        rf"|{_SIGN}{_BEFORE}{NUMERAL}[ ]{SCALE}[ ](?:[€£¥₹₽$](?![0-9])|{CURRENCY_CODE}(?!\w))"
    ),
    # 21st.
    SpanKind.ORDINAL: rf"{_BEFORE}[0-9]{{1,4}}{_SUFFIX}(?!\w)",
    # 3.2 billion.
    SpanKind.NUMBER: rf"{_SIGN}{_BEFORE}{NUMERAL}[ -]{SCALE}(?!\w)",
}
# The kinds that the rules find, by name. The order matters: the first kind that matches at a place wins.
KINDS = {kind.value: kind for kind in SpanKind if kind not in (SpanKind.KEPT, SpanKind.TERM)}


def _pattern(*rules: dict[SpanKind, str]) -> re.Pattern[str]:
    """Returns rules as one pattern, with a group for each kind. Earlier rules of a kind are tried first."""
    groups = []
    for kind in KINDS.values():
        alternatives = "|".join(rule[kind] for rule in rules if kind in rule)
        if alternatives:
            groups.append(f"(?P<{kind.value}>{alternatives})")
    return re.compile("|".join(groups))


# The patterns by whether the text is English, and whether it is in ASCII.
PATTERNS = {
    (False, True): _pattern(_ANY_LANGUAGE),
    (False, False): _pattern(_ANY_LANGUAGE, _BEYOND_ASCII),
    (True, True): _pattern(_ENGLISH, _ANY_LANGUAGE),
    (True, False): _pattern(_ENGLISH, _ANY_LANGUAGE, _BEYOND_ASCII),
}
# A text without any of these has no span.
SIGNS = re.compile(rf"[0-9@<`{{%&/]|www\.|\.(?:{_DOMAIN}|{_FILE})\b")
SIGNS_BEYOND_ASCII = re.compile(rf"[\u2032-\u2034]|{_FRACTION}|{_EMOJI}")
