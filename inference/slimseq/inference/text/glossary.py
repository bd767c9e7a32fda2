"""Glossaries: terms, how they are found in a text, and what stands for them in its translation.

A term is found as whole words, in any case, and in the plural where the language forms it by an ending. An acronym is
found as it is written. The search is linear in the text: at each word, as many terms are looked up as have different
numbers of words and begin with it, `MAX_WORDS` at most. `insertion` has the targets in the translation.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.formats.tags import ATOMS
from slimseq.inference.text.language import base_language
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES
from slimseq.inference.text.spans import ProtectedSpan, SpanKind

# Terms of a request, and of a file.
MAX_TERMS, MAX_FILE_TERMS = 1000, 50_000
# Of a term and of its target.
MAX_CHARACTERS, MAX_WORDS = 100, 10
MIN_CHARACTERS = 2

_WORD = re.compile(f"[{FIRST_WITHOUT_SPACES}-\u9fff]|[^\\W{FIRST_WITHOUT_SPACES}-\u9fff]+|[^\\w\\s]")
# Tags, control characters, and what stands for code in a text.
_MARKUP = re.compile(f"[<>\x00-\x1f\x7f\ud800-\udfff{ATOMS}]")
# Endings of the plural and of the singular.
_PLURALS = {
    "en": "ies:y ses:s xes:x zes:z ches:ch shes:sh oes:o s:",
    "de": "en: er: n: e: s:",
    "es": "ces:z iones:ión res:r les:l nes:n des:d s:",
    "fr": "eaux:eau aux:al eux:eu s:",
    "nl": "en: s:",
    "pt": "ões:ão ns:m ais:al éis:el óis:ol res:r ses:s zes:z s:",
}
_ENDINGS = {language: [pair.split(":") for pair in pairs.split()] for language, pairs in _PLURALS.items()}


@dataclass(frozen=True)
class Term:
    """A term and its target; None: it stays as it is in the text. `is_exact`: it is found as it is written alone."""

    source: str
    target: str | None
    is_exact: bool


class Terms:
    """The terms of one language, with those of another that stand for them.

    Raises:
        InvalidPrompt: there are too many, a term has two targets or would match too much, or one has markup.
    """

    def __init__(self, pairs: Iterable[tuple[str, str | None]], most: int = MAX_TERMS, place: str = "glossary") -> None:
        self._place = place
        self._terms: dict[str, Term] = {}
        # Of terms with several words, by the first one: how many words, the most first.
        self._counts: dict[str, list[int]] = {}
        for source, target in pairs:
            self._add(self._checked(source), None if target is None else self._checked(target))
            if len(self._terms) > most:
                raise InvalidPrompt(f"{place}: has more than {most} terms, the most that are allowed")

    def __len__(self) -> int:
        return len(self._terms)

    def __contains__(self, source: str) -> bool:
        return source.casefold() in self._terms

    def _add(self, source: str, target: str | None) -> None:
        words = _WORD.findall(source.casefold())
        if (len(source) < MIN_CHARACTERS and source < FIRST_WITHOUT_SPACES) or not any(map(str.isalnum, source)):
            raise InvalidPrompt(f"{self._place}: {source!r} would match too much: a term has two characters at least")
        is_exact = source.isupper() if target is not None else source != source.lower()
        known = self._terms.setdefault(source.casefold(), Term(source, target, is_exact))
        if known.target != target:
            raise InvalidPrompt(f"{self._place}: {source!r} has two targets, {known.target!r} and {target!r}")
        if len(words) > 1 and len(words) not in (counts := self._counts.setdefault(words[0], [])):
            counts.append(len(words))
            counts.sort(reverse=True)

    def at(self, text: str, words: Sequence[tuple[int, int]], index: int, language: str) -> ProtectedSpan | None:
        """Returns the longest term that begins with a word of a text, given where the words are."""
        start, end = words[index]
        counts = self._counts.get(text[start:end].casefold(), ())
        for last in (*(index + count - 1 for count in counts), index):
            if last < len(words) and (end := words[last][1]) - start <= 2 * MAX_CHARACTERS:
                term = self._find(" ".join(text[start:end].split()), language)
                if term is not None:
                    written = text[start:end]
                    return ProtectedSpan(start, end, SpanKind.TERM, written, term.target or written)
        return None

    def _find(self, written: str, language: str) -> Term | None:
        key = written.casefold()
        singulars = (
            key[: -len(plural)] + singular for plural, singular in _ENDINGS.get(language, ()) if key.endswith(plural)
        )
        for each in (key, *singulars):
            term = self._terms.get(each)
            if term is not None and (not term.is_exact or written.startswith(term.source) or _is_shouted(written)):
                return term
        return None

    def _checked(self, text: str) -> str:
        plain = " ".join(text.split())
        fault = None if plain else "a term and its target must not be empty"
        if (words := len(_WORD.findall(plain))) > MAX_WORDS:
            fault = f"{plain[:40]!r} has {words} words; at most {MAX_WORDS} are allowed"
        if len(plain) > MAX_CHARACTERS:
            fault = f"{plain[:40]!r}… has {len(plain)} characters; at most {MAX_CHARACTERS} are allowed"
        elif _MARKUP.search(plain):
            fault = f"{plain!r} has markup or control characters; terms are plain text"
        if fault:
            raise InvalidPrompt(f"{self._place}: {fault}")
        return plain


def _is_shouted(written: str) -> bool:
    return written.isupper() and len(written) > MIN_CHARACTERS


@dataclass(frozen=True)
class Glossary:
    """Terms by pair of languages, such as `("en", "de")`, or what is wrong with them; by None, those of any pair.

    Those of a file have its name.
    """

    terms: Mapping[tuple[str, str] | None, Terms | InvalidPrompt]
    name: str = ""

    def between(self, source: str, target: str) -> Terms:
        """Returns the terms for two languages.

        Raises:
            InvalidPrompt: there are none, or they contradict each other.
        """
        found = self.terms.get(None) or self.terms.get((base_language(source), base_language(target)))
        if found is None:
            known = ", ".join(" to ".join(pair) for pair in self.terms if pair)
            raise InvalidPrompt(f"glossary: {self.name!r} is from {known}, and the translation {source} to {target}")
        if isinstance(found, InvalidPrompt):
            raise InvalidPrompt(f"glossary: {found}")
        return found


def read_glossaries(glossary: Glossary | Mapping[str, str] | None, keep: Sequence[str] = ()) -> tuple[Glossary, ...]:
    """Returns the glossaries of a request: terms with their targets, and names that stay as they are.

    Raises:
        InvalidPrompt: as `Terms`.
    """
    if glossary is not None and not isinstance(glossary, Glossary):
        glossary = Glossary({None: Terms(glossary.items())})
    if not keep:
        return (glossary,) if glossary else ()
    kept = Terms(((name, None) for name in keep), place="keep")
    for terms in glossary.terms.values() if glossary else ():
        if isinstance(terms, Terms) and (both := [name for name in keep if name in terms]):
            raise InvalidPrompt(f"keep: {both[0]!r} is a term of the glossary too")
    return (Glossary({None: kept}), *([glossary] if glossary else []))


def find_terms(text: str, terms: Sequence[Terms], language: str) -> Iterator[ProtectedSpan]:
    """Yields the terms in a text: at each place the longest, of equal ones that of the first glossary."""
    words = [match.span() for match in _WORD.finditer(text)]
    end = 0
    for index, (start, _) in enumerate(words):
        if start >= end:
            found = [span for each in terms if (span := each.at(text, words, index, language)) is not None]
            if found:
                longest = max(found, key=lambda span: span.end)
                end = longest.end
                yield longest


def with_terms(spans: Sequence[ProtectedSpan], terms: Iterable[ProtectedSpan]) -> list[ProtectedSpan]:
    """Adds terms to the spans of a text. A term takes the place of spans within it, and is dropped within others."""
    ends, dropped, found = [span.end for span in spans], set[int](), []
    for term in terms:
        first = last = bisect_right(ends, term.start)
        while last < len(spans) and spans[last].start < term.end:
            last += 1
        inner = spans[first:last]
        if all(each.kind is not SpanKind.KEPT and each.end <= term.end and term.start <= each.start for each in inner):
            found.append(term)
            dropped.update(range(first, last))
    return sorted([*found, *(span for index, span in enumerate(spans) if index not in dropped)])


def kept_targets(texts: Sequence[str], terms: Sequence[Terms], language: str, check: Callable[[], None]) -> Glossary:
    """Returns a glossary that keeps the targets of the terms in texts, for a further translation of these."""
    targets: set[str] = set()
    for text in texts:
        check()
        targets.update(span.target for span in find_terms(text, terms, language) if len(span.target) >= MIN_CHARACTERS)
    return Glossary({None: Terms(((target, None) for target in sorted(targets)), MAX_FILE_TERMS)})
