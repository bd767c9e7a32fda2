"""Glossaries: terms, how they are found in a text, and what stands for them in its translation.

A term is found as whole words, in any case and in the plural. An acronym, or a name to keep, is found as it is written.
The search is linear in the text: at each word, the terms that begin with it are looked up, which have `MAX_WORDS`
different lengths at most. `insertion` puts the targets into the translation.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import NamedTuple
from unicodedata import category

from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.formats.tags import ATOMS
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, window_end

# Limits of the terms of a request, and of a file.
MAX_TERMS, MAX_FILE_TERMS = 1000, 50_000
# Limits of a term and of its target. Shorter terms would match everything.
MIN_CHARACTERS, MAX_CHARACTERS, MAX_WORDS = 2, 100, 10
# Words all in capitals, with this many characters at least, may be a heading. Shorter ones are acronyms, such as US.
MIN_SHOUTED = 3
# The last of the characters, from `FIRST_WITHOUT_SPACES` on, that are each a word. Most of them are Chinese.
_LAST_WITHOUT_SPACES = "\u9fff"

# Combining marks, such as accents and the vowels of Hindi, belong to the letter before them.
COMBINING = "".join(each for each in map(chr, range(0x300, ord(FIRST_WITHOUT_SPACES))) if category(each)[0] == "M")
# The repetitions are possessive (`++`), so that a search does not go back in long texts.
_WORD = re.compile(
    rf"""
    [{FIRST_WITHOUT_SPACES}-{_LAST_WITHOUT_SPACES}]  # One Chinese or Japanese character.
    | (?: [^\W{FIRST_WITHOUT_SPACES}-{_LAST_WITHOUT_SPACES}]++ [{COMBINING}]*+ )++  # A word with its combining marks.
    | [^\w\s]  # One other symbol.
    """,
    re.VERBOSE,
)
# Tags, control characters, and the characters that stand for code in a text.
_MARKUP = re.compile(f"[<>\x00-\x1f\x7f\ud800-\udfff{ATOMS}]")
# Endings of the plural, each with the ending of the singular after a colon.
_PLURALS = {
    "en": "ies:y ses:s xes:x zes:z ches:ch shes:sh oes:o s:",
    "de": "en: er: n: e: s:",
    "es": "ces:z iones:ión res:r les:l nes:n des:d s:",
    "fr": "eaux:eau aux:al eux:eu s:",
    "pt": "ões:ão ns:m ais:al éis:el óis:ol res:r ses:s zes:z s:",
}
_ENDINGS = {language: [pair.split(":") for pair in pairs.split()] for language, pairs in _PLURALS.items()}


class Term(NamedTuple):
    """A term and its target.

    Args:
        target: what stands for the term in a translation. None: the term stays as it is in the text.
        is_exact: whether the term is found only as it is written.
    """

    source: str
    target: str | None
    is_exact: bool


class Glossary:
    """Terms with their targets.

    Raises:
        InvalidPrompt: there are too many, one has two targets, would match too much, or has markup.
    """

    def __init__(self, pairs: Iterable[tuple[str, str | None]], most: int = MAX_TERMS) -> None:
        self._terms: dict[str, Term] = {}
        # By the first word of terms with several words: how many words these have, the most first.
        self._word_counts: dict[str, list[int]] = {}
        for written, target in pairs:
            source = _checked(written)
            words = _WORD.findall(source.casefold())
            if not any(map(str.isalnum, source)) or _is_too_short(source):
                raise InvalidPrompt(f"{source!r} would match too much; a term has two characters at least")
            term = Term(source, None if target is None else _checked(target), _is_exact(source, target))
            known = self._terms.setdefault(source.casefold(), term)
            if known.target != term.target:
                raise InvalidPrompt(f"{source!r} has two targets, {known.target!r} and {term.target!r}")
            if len(self._terms) > most:
                raise InvalidPrompt(f"has more than {most} terms, the most that are allowed")
            if len(words) > 1:
                counts = {len(words), *self._word_counts.get(words[0], ())}
                self._word_counts[words[0]] = sorted(counts, reverse=True)

    def __len__(self) -> int:
        return len(self._terms)

    @property
    def pairs(self) -> list[tuple[str, str | None]]:
        """The terms with their targets, sorted."""
        return sorted(((each.source, each.target) for each in self._terms.values()), key=repr)

    def __contains__(self, source: str) -> bool:
        return source.casefold() in self._terms

    def at(
        self, text: str, starts: Sequence[int], ends: Sequence[int], index: int, language: str
    ) -> ProtectedSpan | None:
        """Returns the longest term that begins with a word of a text.

        `starts` and `ends` have the places of all words of the text. `index` is the number of the word.
        """
        start = starts[index]
        first_word = text[start : ends[index]].casefold()
        for count in (*self._word_counts.get(first_word, ()), 1):
            if index + count > len(ends):
                continue
            end = ends[index + count - 1]
            # A term may have more spaces in the text than in the glossary.
            if end - start > 2 * MAX_CHARACTERS:
                continue
            written = text[start:end]
            term = self._find(" ".join(written.split()), language)
            if term is not None:
                return ProtectedSpan(start, end, SpanKind.TERM, written, term.target or written)
        return None

    def _find(self, written: str, language: str) -> Term | None:
        """Returns the term that some words of a text are, in the singular or in the plural."""
        key = written.casefold()
        endings = [(plural, singular) for plural, singular in _ENDINGS.get(language, ()) if key.endswith(plural)]
        singulars = [key.removesuffix(plural) + singular for plural, singular in endings]
        is_shouted = written.isupper() and len(written) >= MIN_SHOUTED
        for each in (key, *singulars):
            term = self._terms.get(each)
            if term is None:
                continue
            # Not `==`, because `written` may be a plural: "CPUs" begins with the term "CPU".
            is_as_written = written.startswith(term.source)
            if not term.is_exact or is_shouted or is_as_written:
                return term
        return None


def _is_too_short(source: str) -> bool:
    """Whether a term would match too much. One Chinese character is a word; one letter is not."""
    return len(source) < MIN_CHARACTERS and source < FIRST_WITHOUT_SPACES


def _is_exact(source: str, target: str | None) -> bool:
    """Whether a term is found only as it is written."""
    if target is None:
        # A name to keep, such as Apple: its capitals matter. One in small letters is found in any case.
        return source != source.lower()
    # An acronym, such as US.
    return source.isupper()


def _checked(text: str) -> str:
    """Returns a term or a target with single spaces."""
    # To split millions of characters would hold the interpreter.
    plain = " ".join(text[: MAX_CHARACTERS + 1].split())
    if len(text) > MAX_CHARACTERS or len(_WORD.findall(plain)) > MAX_WORDS:
        raise InvalidPrompt(f"{plain[:40]!r} is longer than {MAX_CHARACTERS} characters or {MAX_WORDS} words")
    if not plain:
        raise InvalidPrompt("a term and its target must not be empty")
    if _MARKUP.search(plain):
        raise InvalidPrompt(f"{plain!r} has markup or control characters; a term is plain text")
    return plain


def read_glossaries(glossary: Glossary | Mapping[str, str] | None, keep: Sequence[str]) -> list[Glossary]:
    """Returns the names of `keep` as a glossary, and the glossary itself, if they have terms.

    Raises:
        InvalidPrompt: as `Glossary`, or a term is in both. Names the field.
    """
    # The field that is read, for the error.
    field = "keep"
    try:
        kept = Glossary((name, None) for name in keep)
        field = "glossary"
        own = glossary if isinstance(glossary, Glossary) else Glossary((glossary or {}).items())
        both = [name for name in keep if name in own]
        if both:
            raise InvalidPrompt(f"{both[0]!r} is a name to keep too")
    except InvalidPrompt as error:
        raise InvalidPrompt(f"{field}: {error}") from error
    return [each for each in (kept, own) if len(each)]


def find_terms(text: str, glossaries: Sequence[Glossary], language: str) -> Iterator[ProtectedSpan]:
    """Yields the terms in a text: at each place the longest one. The first glossary wins among equal ones."""
    # Not lists of numbers: to free a million of them would hold the interpreter.
    starts, ends = array("q"), array("q")
    place = 0
    while place < len(text):
        stop = window_end(text, place)
        for match in _WORD.finditer(text, place, stop):
            starts.append(match.start())
            ends.append(match.end())
        place = stop
    end = 0
    for index, start in enumerate(starts):
        if start < end:
            continue
        candidates = [each.at(text, starts, ends, index, language) for each in glossaries]
        found = [span for span in candidates if span is not None]
        if found:
            longest = max(found, key=lambda span: span.end)
            yield longest
            end = longest.end


def with_terms(spans: Sequence[ProtectedSpan], terms: Iterable[ProtectedSpan]) -> list[ProtectedSpan]:
    """Adds terms to the spans of a text. A term takes the place of the spans within it.

    A term is dropped if a span goes beyond it, or if it touches a span of the kind `KEPT`: these win over terms.

    Args:
        spans: the spans of the text, in reading order. They do not overlap.
        terms: the terms in the text, likewise.
    """
    ends = [span.end for span in spans]
    dropped: set[int] = set()
    found: list[ProtectedSpan] = []
    for term in terms:
        first = last = bisect_right(ends, term.start)
        while last < len(spans) and spans[last].start < term.end:
            last += 1
        inner = spans[first:last]
        can_replace = all(
            each.kind is not SpanKind.KEPT and term.start <= each.start and each.end <= term.end for each in inner
        )
        if can_replace:
            found.append(term)
            dropped.update(range(first, last))
    kept = (span for index, span in enumerate(spans) if index not in dropped)
    # Both are in reading order. Unlike `sorted`, the merge of many spans lets other threads run.
    return list(merge(found, kept))
