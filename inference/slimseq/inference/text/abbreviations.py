"""Abbreviations before numbers, such as "no. 12" and "p. 7": they end no sentence, and models read them in full.

`sentences` asks `ends_no_sentence` about each end that sentencex finds. A model that reads "invoice no. 12" takes the
dot for the end of a sentence, or "no" for the answer. So `write_in_full` writes English abbreviations out before the
model reads them: "invoice number 12". docs/decisions/031 says where sentences end.
"""

import re
from collections.abc import Sequence

from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, replaced

# English abbreviations after which sentencex ends a sentence. Those of the first group never end a sentence. Those of
# the second group end none before a digit or a small letter.
_ENGLISH = re.compile(
    r"\b(?:(?:Ms|Mx|Ft|Pt|[Aa]pprox|[Ii]ncl|[Ee]xcl)\.\s+\S"
    r"|(?i:abbr|appt|appx|apt|attn|avg|bks?|ch|chaps?|cols|conf|cor|def|diff|dir|div|edn?|eds|encl|eqn?|eqs|equiv|est|exs?"
    r"|figs|fn|fri|gal|govt|hrs|inst|int|intl|intro|inv|iss|lbs|lem|lns?|max|mgmt|min|mins|misc|mon|mts|natl|nn|num|opp"
    r"|orig|par|paras?|perf|pgs|pkwy|pos|prev|prob|prop|prov|pts|qs|qty|ques|refs|resp|rm|rte|sat|secs|sect|std|subj|suppl"
    r"|tbsp|tel|temp|thm|thu|thurs?|tot|tsp|tues?|typ|univ|usu|vols?|vv|wed|wks?|wt|yd|yrs?)\.\s+[0-9a-z])\Z"
)
# Abbreviations of other languages. None ends a sentence before a digit, or before the sign of an ordinal, as in n.º 12.
_OTHERS = re.compile(
    r"\b(?:ed|max|(?i:abb|abs|aprox|art|arts|bd|ca|cap|caps|cca|chap|fig|figs|hfst|kap|máx|min|mín|n|nn|nr|nro|num|núm"
    r"|obr|p|pag|pagg|pág|págs|par|pp|poz|rys|sez|str|tab|tel|tél|ust|vol|vols|zn))\.(?:[ºª°]|\s+[0-9])\Z"
)
# Characters of an abbreviation and the spaces after it, at most.
_MOST_BEFORE = 16

# English abbreviations that are written out before a number.
_WORDS = {
    **{"no": "number", "num": "number", "nos": "numbers", "p": "page", "pg": "page", "pp": "pages", "pgs": "pages"},
    **{"vol": "volume", "vols": "volumes", "ch": "chapter", "chap": "chapter", "chaps": "chapters"},
    **{"fig": "figure", "figs": "figures", "sec": "section", "sect": "section", "secs": "sections"},
    **{"art": "article", "arts": "articles", "para": "paragraph", "paras": "paragraphs"},
    **{"eq": "equation", "eqn": "equation", "eqs": "equations", "appx": "appendix", "apt": "apartment", "rm": "room"},
    "approx": "approximately",
}
# With a space: models copy what has none, such as Fig.2.
_BEFORE_NUMBER = re.compile(rf"(?<![\w.])({'|'.join(_WORDS)})\.([ \u00a0])\Z", re.IGNORECASE)
# A unit such as "sec." has a digit before it.
_DIGIT_BEFORE = re.compile(r"[0-9][ \u00a0]?\Z")
_WORD_BEFORE = re.compile(r"([a-z]{1,20})[ \u00a0]*\Z", re.IGNORECASE)
# Words before "no." where it is an answer.
_BEFORE_ANSWER = frozenset(
    {"answer", "answered", "answers", "be", "been", "being", "is", "or", "replied", "reply", "said", "say", "saying"}
    | {"says", "to", "voted", "was", "with"}
)
# What follows the number of "No. 5" at the beginning of a text, where "No." is no answer.
_NOT_AN_ANSWER = re.compile(r"[,;:.)]|[ \u00a0](?:and|are|at|can|for|from|has|in|is|of|on|or|to|was|were|will|with)\b")
# The kinds of spans before which an abbreviation is written out.
_COUNTED = frozenset(map(SpanKind, ("amount", "identifier", "number", "ordinal", "percent", "quantity")))


def ends_no_sentence(text: str, start: int, end: int, language: str) -> bool:
    """Whether a place between two words, after the start of a sentence, is only the end of an abbreviation."""
    first = max(start, end - _MOST_BEFORE)
    if text.rfind(".", first, end) < 0:
        return False
    pattern = _ENGLISH if language == "en" else _OTHERS
    return pattern.search(text, first, end + 1) is not None


def write_in_full(text: str, spans: Sequence[ProtectedSpan]) -> tuple[str, list[ProtectedSpan]]:
    """Returns an English sentence with the abbreviations before its numbers written out, and its spans there."""
    changes: list[tuple[int, int, str]] = []
    moved: list[ProtectedSpan] = []
    added = 0
    for span in spans:
        match = None
        if span.kind in _COUNTED:
            match = _BEFORE_NUMBER.search(text, max(0, span.start - _MOST_BEFORE), span.start)
        if match is not None and _is_abbreviation(text, match.start(), match[1], span.end):
            word = _in_case_of(match[1], _WORDS[match[1].lower()], is_first=match.start() == 0)
            words = word + match[2]
            changes.append((match.start(), span.start, words))
            added += len(words) - len(match[0])
        moved.append(span.moved(added))
    return replaced(text, changes), moved


def _is_abbreviation(text: str, start: int, written: str, end_of_number: int) -> bool:
    """Whether what looks like an abbreviation is one: not the unit of "5 sec.", and not the answer "no."."""
    if _DIGIT_BEFORE.search(text, max(0, start - _MOST_BEFORE), start):
        return False
    if written.lower() != "no":
        return True
    if start == 0:
        return end_of_number == len(text) or _NOT_AN_ANSWER.match(text, end_of_number) is not None
    before = _WORD_BEFORE.search(text, max(0, start - _MOST_BEFORE), start)
    return not written.islower() or before is None or before[1].lower() not in _BEFORE_ANSWER


def _in_case_of(written: str, word: str, *, is_first: bool) -> str:
    if written.isupper() and len(written) > 1:
        return word.upper()
    return word.capitalize() if is_first and written[0].isupper() else word
