"""Finds the words of a text that a model would destroy: names and foreign words with letters that it cannot write.

Such a word is a protected span. It comes out as it went in, whatever the target language does with names.
`slimseq.inference.alphabet` says what a model can write.

A model of few languages also misspells names whose letters it knows, such as `Inês`. `misspelled_names` finds these in
an output, so that the sentence is tried again with these names protected. The output may have a name in another form,
such as `Zurique` or `Zuerich` for `Zürich`, and need not have it at all. Only what is surely wrong is found, such as
`Z'rich`.

Each search is linear in the text and its output. A text whose letters are all known is not searched.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from babel.core import get_global

from slimseq.inference.alphabet import Alphabet
from slimseq.inference.text.glossary import COMBINING
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, window_end

# Thai, Lao, Burmese and Khmer, and the scripts of Chinese and Japanese have no spaces between words. Only the letters
# that a model cannot write are protected in them.
_WITHOUT_SPACES = (
    f"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff{FIRST_WITHOUT_SPACES}-\uabff\uf900-\ufaff\U00020000-\U0003ffff"
)
# A word, or a part of one that a hyphen or an apostrophe joins with others.
PART = re.compile(f"[{_WITHOUT_SPACES}]|(?:[^\\W{_WITHOUT_SPACES}]++[{COMBINING}]*+)++")
# A letter or an accent of its own.
_BEYOND_ASCII = re.compile(f"[^\\W\\0-\\x7f]|[{COMBINING}]")
_HYPHENS, _APOSTROPHES = "-\u2010\u2011", "'\u2019"
# Longer runs of letters are no words, and take long to tokenize.
MAX_WORD_CHARACTERS = 100
# Characters of a part before an apostrophe that belongs to a name, as in O'Brien and d'Étretat, at most. The part after
# it has more than one character, since the `s` of a possessive does not belong to the name.
MAX_ELISION = 2
# Languages that write names in one form. Other languages put endings after names, and a name would seem to be lost.
WITHOUT_CASES = frozenset({"af", "ca", "da", "de", "en", "es", "fr", "gl", "it", "nb", "nl", "nn", "no", "pt", "sv"})

# A misspelled name is a word of the output with the ASCII letters of the name, and at most so many characters in place
# of each other letter.
MAX_FOR_A_LETTER = 2
# With fewer ASCII letters, a name is not compared: any word may have them.
MIN_ASCII_LETTERS = 3
# Limits of the names of a source that are compared with its output, and of the characters of each.
MAX_NAMES, MAX_NAME_CHARACTERS = 50, 40
_LETTER_BEYOND_ASCII = re.compile(f"[^\\W\\d_a-zA-Z\u00b2\u00b3\u00b9]|[{COMBINING}]")
_OTHERS_THAN_ASCII = re.compile("[^\\0-\\x7f]+")
_AROUND_WORDS = '.,;:!?()[]{}"\u201c\u201d\u201e\u00ab\u00bb'
# How letters are written without accents where Unicode does not say it, and how they are written with two letters.
_PLAIN = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ə": "e", "ħ": "h"}
_PLAIN |= {"\N{LATIN SMALL LETTER DOTLESS I}": "i", "\N{MODIFIER LETTER TURNED COMMA}": ""}
_WITH_TWO_LETTERS = {"ø": "oe", "å": "aa", "ä": "ae", "ö": "oe", "ü": "ue", "ð": "dh", "đ": "dj"}

# Finds the names in a text.
NameFinder = Callable[[str], list[ProtectedSpan]]


class _Word(NamedTuple):
    """A word, or a part of one that a hyphen joins with others. `kind` is None if the model translates it."""

    start: int
    end: int
    kind: SpanKind | None


def no_names(text: str) -> list[ProtectedSpan]:
    """Finds none. For a model that can write everything."""
    return []


def find_names(text: str, alphabet: Alphabet, source: str, target: str) -> list[ProtectedSpan]:
    """Returns the words of a text that a model cannot write, and names that it may misspell, in reading order."""
    if text.isascii():
        return []
    # Whether names are protected whose letters the model knows.
    is_checked = source == "en" and target in WITHOUT_CASES and alphabet.is_narrow
    found: list[ProtectedSpan] = []
    start = 0
    while start < len(text):
        end = window_end(text, start)
        for name in _find_in_window(text, start, end, alphabet, source, target, is_checked=is_checked):
            if found and found[-1].end == name.start:
                # The window before ended within a name.
                before = found.pop()
                kind = SpanKind.WORD if SpanKind.WORD in (before.kind, name.kind) else SpanKind.NAME
                name = ProtectedSpan(before.start, name.end, kind, before.text + name.text)
            found.append(name)
        start = end
    return found


def _find_in_window(
    text: str, start: int, end: int, alphabet: Alphabet, source: str, target: str, *, is_checked: bool
) -> list[ProtectedSpan]:
    if not _BEYOND_ASCII.search(text, start, end):
        return []
    if not (is_checked or alphabet.may_lack(text[start:end])):
        return []
    places = [match.span() for match in PART.finditer(text, start, end)]
    words = [(first, last) for first, last in places if last - first <= MAX_WORD_CHARACTERS]
    beyond_ascii = [(first, last) for first, last in words if not text[first:last].isascii()]
    unwritable = {*_unwritable(text, beyond_ascii, alphabet, source, target)}
    checked_names = {place for place in beyond_ascii if is_checked and _is_name(text, *place)}
    parts = []
    for place in places:
        kind = None
        if place in unwritable:
            kind = SpanKind.WORD
        elif place in checked_names:
            kind = SpanKind.NAME
        parts.append(_Word(*place, kind))
    return [ProtectedSpan(first, last, kind, text[first:last]) for first, last, kind in _joined(text, parts)]


def _unwritable(
    text: str, places: Sequence[tuple[int, int]], alphabet: Alphabet, source: str, target: str
) -> Iterator[tuple[int, int]]:
    """Yields the places of words that a model cannot write."""
    # With the space before a word, if there is one, as the tokenizer reads it.
    words = [text[start - text.startswith(" ", start - 1, start) : end] for start, end in places]
    # Models write names of other scripts in their own: they only have to read them.
    is_copied = is_latin(target)
    can_write = alphabet.can_write(words, is_copied=is_copied)
    if source != "en":
        # A capital of the model's own language may be rare, as in `ÚLTIMAS`. English has none beyond ASCII.
        in_small_letters = alphabet.can_write([word.lower() for word in words], is_copied=is_copied)
        can_write = [any(pair) for pair in zip(can_write, in_small_letters, strict=True)]
    for place, is_written in zip(places, can_write, strict=True):
        if not is_written:
            yield place


def _is_name(text: str, start: int, end: int) -> bool:
    """Whether a word is a name, or a part of an address such as müller.de."""
    is_before_dot = text.startswith(".", end) and text[end + 1 : end + 2].islower()
    return text[start].isupper() or is_before_dot or text.startswith("@", end) or text.startswith("@", start - 1, start)


def _joined(text: str, parts: Sequence[_Word]) -> Iterator[tuple[int, int, SpanKind]]:
    """Yields where names are, and their kinds. A name has all parts that belong together."""
    first = 0
    for index, part in enumerate(parts):
        if index + 1 < len(parts) and _belong_together(text, part, parts[index + 1]):
            continue
        kinds = {each.kind for each in parts[first : index + 1]}
        for kind in (SpanKind.WORD, SpanKind.NAME):
            if kind in kinds:
                yield parts[first].start, part.end, kind
                break
        first = index + 1


def _belong_together(text: str, part: _Word, following: _Word) -> bool:
    """Whether two parts are of one name, by what is between them."""
    both = part, following
    between = text[part.end : following.start]
    if between == "":
        return all(each.kind is not None for each in both)
    if between in _HYPHENS:
        # Not `Müller-style`, whose second part is translated.
        return all(each.kind is not None or text[each.start].isupper() for each in both)
    if between in _APOSTROPHES:
        return part.end - part.start <= MAX_ELISION and following.end - following.start > 1
    # An address or the name of a file.
    is_address = between == "@" or (between == "." and text[following.start].islower())
    return is_address and any(each.kind is not None for each in both)


def with_names(spans: Sequence[ProtectedSpan], names: Sequence[ProtectedSpan]) -> list[ProtectedSpan]:
    """Adds names to the spans of a text. A name is dropped where it overlaps with a span, such as a URL."""
    found: list[ProtectedSpan] = []
    index = 0
    for name in names:
        while index < len(spans) and spans[index].end <= name.start:
            found.append(spans[index])
            index += 1
        if index == len(spans) or name.end <= spans[index].start:
            found.append(name)
    return [*found, *spans[index:]]


def join_neighbours(text: str, spans: Sequence[ProtectedSpan]) -> list[ProtectedSpan]:
    """Joins names of one person, with a space between them, if the model cannot write one of the names."""
    found: list[ProtectedSpan] = []
    first = 0
    for index, span in enumerate(spans):
        if index + 1 < len(spans) and _is_one_name(text, span, spans[index + 1]):
            continue
        if first < index:
            start = spans[first].start
            span = ProtectedSpan(start, span.end, SpanKind.WORD, text[start : span.end])
        found.append(span)
        first = index + 1
    return found


def with_unwritable_terms(spans: Sequence[ProtectedSpan], find: NameFinder) -> list[ProtectedSpan]:
    """Protects the terms of a glossary that a model cannot write: it has no word for them that could be replaced."""
    return [
        span._replace(kind=SpanKind.KEPT) if span.kind is SpanKind.TERM and _has_unwritable(span.text, find) else span
        for span in spans
    ]


def _has_unwritable(text: str, find: NameFinder) -> bool:
    return any(name.kind is SpanKind.WORD for name in find(text))


def _is_one_name(text: str, span: ProtectedSpan, following: ProtectedSpan) -> bool:
    kinds = {span.kind, following.kind}
    are_names = SpanKind.WORD in kinds and kinds <= {SpanKind.WORD, SpanKind.NAME}
    return are_names and text[span.end : following.start] == " "


@cache
def is_latin(language: str) -> bool:
    """Whether a language is written in Latin letters, for all that is known."""
    written = str(get_global("likely_subtags").get(language.replace("-", "_"), language))
    return "_" not in written or "_Latn" in written


def misspelled_names(source: str, output: str) -> list[ProtectedSpan]:
    """Returns words of a source with letters beyond ASCII that the output has with other letters, in reading order."""
    if source.isascii():
        return []
    names: dict[str, ProtectedSpan] = {}
    for match in PART.finditer(source):
        name = match[0]
        if not _LETTER_BEYOND_ASCII.search(name) or len(name) > MAX_NAME_CHARACTERS or name in names or name in output:
            continue
        names[name] = ProtectedSpan(*match.span(), SpanKind.WORD, name)
        if len(names) == MAX_NAMES:
            break
    if not names:
        return []
    # What only the output has: whole words, and the parts of compounds such as `Müller-Straße`.
    new_words = {word.strip(_AROUND_WORDS).rstrip("-") for word in {*output.split()} - {*source.split()}}
    new_words |= {part for word in new_words for part in word.split("-")}
    return [span for name, span in names.items() if _is_misspelled(name, new_words)]


def lost_names(names: Sequence[ProtectedSpan], output: str) -> list[str]:
    """Returns the names that a model cannot write and that an output has in no spelling."""
    written = output.casefold()
    lost: list[str] = []
    for name in names[:MAX_NAMES]:
        if name.kind is not SpanKind.WORD or not name.text[0].isupper():
            continue
        if not any(spelling in written for spelling in _spellings(name.text)):
            lost.append(name.text)
    return lost


def _is_misspelled(name: str, words: Collection[str]) -> bool:
    """Whether one of the words is surely the name with wrong letters in place of those beyond ASCII."""
    letters = unicodedata.normalize("NFC", name)
    # The runs of ASCII letters, and for each run of other letters between them its longest replacement.
    fragments = _OTHERS_THAN_ASCII.split(letters)
    gaps = [MAX_FOR_A_LETTER * len(run) for run in _OTHERS_THAN_ASCII.findall(letters)]
    if sum(map(len, fragments)) < MIN_ASCII_LETTERS:
        return False
    spellings = _spellings(name)
    for word in words:
        if not _has_fragments(word, fragments, gaps) or word.casefold() in spellings:
            continue
        # A word in small letters is no name. Its translation may be similar by chance, as `aber` is to `über`.
        if letters[0].isupper() or not word.isalpha():
            return True
    return False


def _has_fragments(word: str, fragments: Sequence[str], gaps: Sequence[int]) -> bool:
    """Whether a word is the fragments in this order. `gaps` are the most characters between two fragments."""
    if not gaps:
        return False
    first, last = fragments[0], fragments[-1]
    if not (word.startswith(first) and word.endswith(last)):
        return False
    place = len(first)
    for fragment, gap in zip(fragments[1:-1], gaps, strict=False):
        place = word.find(fragment, place, place + gap + len(fragment))
        if place < 0:
            return False
        place += len(fragment)
    return 0 <= len(word) - len(last) - place <= gaps[-1]


def _spellings(name: str) -> set[str]:
    """Returns a name as it is, without accents, and with two letters for those that are often written so."""
    folded = unicodedata.normalize("NFC", name).casefold()
    plain = [_without_accent(letter) for letter in folded]
    with_two = [_WITH_TWO_LETTERS.get(letter, other) for letter, other in zip(folded, plain, strict=True)]
    return {folded, "".join(plain), "".join(with_two)}


def _without_accent(letter: str) -> str:
    if unicodedata.combining(letter):
        return ""
    return _PLAIN.get(letter, unicodedata.normalize("NFD", letter)[0])
