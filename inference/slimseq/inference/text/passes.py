"""The passes of a sentence with spans: what to translate next, given the outputs so far, until the spans are right.

1. The sentence, with placeholders for what models never copy. Numbers are left: most models copy most of them. Numbers
   that are wrong in the output are replaced if it is sure which is which.
2. If spans are still wrong: the sentence, unless it is long, with other placeholders, for the wrong spans too.
3. If spans are still lost: the parts of the sentence, each alone, with the first two passes for its own spans. Parts
   are the clauses that have lost spans, and what is between these clauses. A single clause is parted around its lost
   spans. Parts are parted again, twice at most in all, and at last around all spans, so that nothing is lost.

Each pass is a row like any other, so an output depends on its sentence and the options only. docs/decisions/024 has the
measurements behind this order.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from slimseq.inference.generator import TextOutput, joined
from slimseq.inference.text.abbreviations import write_in_full
from slimseq.inference.text.localization import (
    POSSESSIVE,
    Numeral,
    Rendering,
    insert_renderings,
    is_exact,
    put_signs,
    render_each,
)
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES, SPACES, is_whole, typed
from slimseq.inference.text.spans import ProtectedSpan, Range, SpanKind, has_unprotected_words, overlaps, replaced

Passes = Generator[list[str], Sequence[TextOutput], TextOutput]

# Models do not copy longer numbers, such as one with a thousand separators.
MAX_COPIED_CHARACTERS = 40
# Placeholders, the first that are free are taken. docs/decisions/024: how often models copy these and others.
NAMES = ("Peter", "Tom", "Maria", "Jackson", "David", "Robert", "Michael", "Thomas", "Daniel", "Martin")
NUMBERS = tuple(str(112 + 137 * step % 887) for step in range(64))

# Longer sentences have no second pass: it takes long, and rarely helps. Their parts are long enough to be understood.
MAX_WORDS_AGAIN = 24
# From the first letter or digit of a text to the last one.
_WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)
# How often a sentence and its parts are parted at lost spans. Then it is parted at all spans.
MAX_PARTINGS = 2
# Fewer words are not translated alone if that can be avoided.
MIN_WORDS = 3
# As many parts as a sentence has that is parted around all of its spans.
MAX_CLAUSES = 33
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s[-\u2013\u2014](?=\s)")
_WORD_CHARACTERS = re.compile(r"\w+")
# The longest unit has fewer.
UNIT_CHARACTERS = 24
# An inflected unit has at most so many letters more. Shorter units than these are not inflected or cut.
MAX_ENDING, MIN_INFLECTED = 2, 4
_TOKEN_END = re.compile(r"\w{2,40}\Z")
_WORD = re.compile(r"[^\W\d_]*")
_DIGITS = re.compile(r"[0-9]+(?:[.,:][0-9]+)*")
# What a copied time has after it. A dot at the end is that of the sentence.
_HALF_OF_DAY = re.compile(rf"[{SPACES}]?(?:[ap]\.m(?:\.(?=.*\w))?|pm)(?!\w)")


@dataclass(frozen=True)
class Placeholder:
    """What stands for a span, what replaces it, and whether a space was added before or after it."""

    name: str
    replacement: str
    is_spaced_before: bool = False
    is_spaced_after: bool = False


@dataclass(frozen=True)
class Masked:
    """A sentence with placeholders."""

    text: str
    placeholders: tuple[Placeholder, ...]

    def restored(self, output: str) -> tuple[str, list[int]]:
        """Returns a translation with the spans in place of their placeholders.

        The numbers are those of the spans whose placeholder is not in the translation exactly once.
        """
        found: list[tuple[int, Placeholder]] = []
        lost: list[int] = []
        for index, placeholder in enumerate(self.placeholders):
            matches = re.finditer(re.escape(placeholder.name), output)
            places = [(match.start(), placeholder) for match in matches if _is_alone(output, match)]
            if len(places) != 1:
                lost.append(index)
            found += places
        changes, end = [], 0
        for place, placeholder in sorted(found, key=lambda each: each[0]):
            start = place - (placeholder.is_spaced_before and output.endswith(" ", end, place))
            end = place + len(placeholder.name)
            end += placeholder.is_spaced_after and output.startswith(" ", end)
            changes.append((start, end, placeholder.replacement))
        return replaced(output, changes), lost


def regenerate(
    text: str, spans: Sequence[ProtectedSpan], source: str, target: str, *, in_clauses: bool = False
) -> Passes:
    """Translates a sentence in passes, with its spans, which are in reading order, in the translation.

    It yields the texts to translate, in the first pass one, or its clauses, and is sent their outputs. It returns the
    output, whose `lost` has the spans that are not in its text, only where `max_new_tokens` is less than the sentence
    needs. Its tokens are those of all passes, its input tokens those of the first one.
    """
    start, end, first, last = 0, len(text), 0, len(spans)
    # Tags and symbols around the sentence are not read by the model.
    while first < last and _is_wordless(spans[first]) and not text[start : spans[first].start].strip():
        start, first = spans[first].end, first + 1
    while first < last and _is_wordless(spans[last - 1]) and not text[spans[last - 1].end : end].strip():
        end, last = spans[last - 1].start, last - 1
    start, end = end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip())
    inner = [span.moved(-start) for span in spans[first:last]]
    words = text[start:end]
    if source == "en":
        words, inner = write_in_full(words, inner)
    renderings = render_each(words, inner, source, target)
    if source == "en":
        # Models know numbers with commas. Places stay as they are.
        read = [Rendering(span.text if is_exact(span) else typed(span.text)) for span in inner]
        words = insert_renderings(words, inner, read)
    sentence = ProtectedSentence(words, inner, renderings)
    parts = sentence.clauses() if in_clauses else []
    is_parted = any(part.words for part in parts)
    output = yield from _in_parts(parts, [], 0) if is_parted else _regenerate(sentence)
    whole = [replace(each, text=text[:start] + each.text + text[end:]) for each in (output, *output.alternatives)]
    return replace(whole[0], alternatives=tuple(whole[1:]))


def _is_wordless(span: ProtectedSpan) -> bool:
    return span.kind is SpanKind.TAG or (span.kind is SpanKind.SYMBOL and not _WORDS.search(span.text))


def _regenerate(sentence: "ProtectedSentence", partings: int = 0) -> Passes:
    """Translates a sentence, or a part that came of so many partings, in passes, as `regenerate` does."""
    text, spans = sentence.text, sentence.spans
    chosen = [index for index, span in enumerate(spans) if is_exact(span) or len(span.text) > MAX_COPIED_CHARACTERS]
    generated: list[TextOutput] = []
    for placeholders in (NAMES, NUMBERS):
        masked = sentence.masked(chosen, placeholders) or sentence.masked(chosen, NUMBERS)
        if masked is None:
            # The sentence has all placeholders. Its first pass is then without any.
            if generated:
                break
            chosen, masked = [], Masked(text, ())
        [output] = yield [masked.text]
        generated.append(output)
        restored, lost = sentence.restored(chosen, masked, output.text)
        # The request allows fewer tokens than the sentence has.
        is_cut = output.finish_reason == "length" and output.output_tokens < output.input_tokens
        if not lost or is_cut:
            # What was cut off is missed if it was protected; a name with known letters was left to the model.
            missed = [spans[index].text for index in sorted(lost) if spans[index].kind is not SpanKind.NAME]
            # Alternatives that lose something are left out.
            found = [(each, *sentence.restored(chosen, masked, each.text)) for each in output.alternatives]
            return replace(
                output,
                text=restored,
                input_tokens=generated[0].input_tokens,
                output_tokens=sum(each.output_tokens for each in generated),
                lost=tuple(missed),
                alternatives=tuple(replace(each, text=words) for each, words, missing in found if not missing),
            )
        if len(text.split()) > MAX_WORDS_AGAIN:
            break
        chosen = sorted({*chosen, *lost})
    if partings == MAX_PARTINGS:
        parts = sentence.parts_around(range(len(spans)), 0)
    else:
        parts = sentence.clauses_of(sorted(lost)) or sentence.parts_around(sentence.with_tags(lost), MIN_WORDS)
    return (yield from _in_parts(parts, generated, partings))


def _in_parts(parts: Sequence["_Part"], generated: Sequence[TextOutput], partings: int) -> Passes:
    outputs = yield from side_by_side([_regenerate(part.words, partings + 1) for part in parts if part.words])
    translated, pieces, every = iter(outputs), [], [*generated, *outputs]
    for part in parts:
        words = next(translated).text.rstrip(".!?") if part.words else ""
        pieces += [part.before, words, part.after]
    tokens = sum(each.output_tokens for each in every)
    return replace(joined("".join(pieces), outputs), input_tokens=every[0].input_tokens, output_tokens=tokens)


def side_by_side(works: Sequence[Passes]) -> Generator[list[str], Sequence[TextOutput], list[TextOutput]]:
    """Runs the passes of parts together. Returns the outputs of the parts."""
    waiting = [(index, work, next(work)) for index, work in enumerate(works)]
    found: dict[int, TextOutput] = {}
    while waiting:
        outputs = yield [text for _, _, texts in waiting for text in texts]
        start, further = 0, []
        for index, work, texts in waiting:
            try:
                further.append((index, work, work.send(outputs[start : start + len(texts)])))
            except StopIteration as end:
                found[index] = end.value
            start += len(texts)
        waiting = further
    return [found[index] for index in range(len(works))]


@dataclass(frozen=True)
class ProtectedSentence:
    """A sentence, its spans, and how they read in the target language."""

    text: str
    spans: Sequence[ProtectedSpan]
    renderings: Sequence[Rendering]

    def masked(self, chosen: Sequence[int], names: Sequence[str]) -> Masked | None:
        """Returns the sentence with placeholders for the chosen spans, None if there are too few of them."""
        if not chosen:
            return Masked(self.text, ())
        text, spans = self.text, [self.spans[index] for index in chosen]
        edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
        rest = " ".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
        words = {word.lower() for word in _WORD_CHARACTERS.findall(rest)}
        free = [each for each in names if each.lower() not in words]
        if len(free) < len(spans):
            return None
        pieces, start, placeholders = [], 0, []
        for index, span, name in zip(chosen, spans, free, strict=False):
            before, after = text[max(span.start - 1, 0) : span.start], text[span.end : span.end + 1]
            is_spaced_before = bool(_WORD_CHARACTERS.match(before)) or 0 < span.start == start
            is_spaced_after = bool(_WORD_CHARACTERS.match(after))
            pieces += [text[start : span.start], " " * is_spaced_before, name, " " * is_spaced_after]
            placeholders.append(Placeholder(name, self.renderings[index].text, is_spaced_before, is_spaced_after))
            start = span.end
        return Masked("".join([*pieces, text[start:]]), tuple(placeholders))

    def restored(self, chosen: Sequence[int], masked: Masked, output: str) -> tuple[str, set[int]]:
        """Returns the text of an output with its spans, and the places of the spans that are not in it."""
        others = [index for index in range(len(self.spans)) if index not in chosen]
        renderings = [self.renderings[index] for index in others]
        found = check(output, renderings)
        if found.joined:
            found = check(found.add_spaces(self.text), renderings)
        output = found.text
        missing = {others[index] for index in found.missing}
        if found.absent and (text := found.repair()) is not None:
            output, missing = text, set()
        text, lost = masked.restored(put_signs(output, renderings))
        return text, missing | {chosen[index] for index in lost}

    def clauses_of(self, lost: Sequence[int]) -> list["_Part"]:
        """Returns the parts of the sentence before, between and after the clauses of some of its spans.

        Returns none if the sentence has no clause that can be set apart.
        """
        cuts: set[int] = set()
        ends = [match.end() for match in _CLAUSE_END.finditer(self.text)]
        ends = [end for end in ends if not any(span.start < end < span.end for span in self.spans)]
        for index in lost:
            span = self.spans[index]
            before, after = bisect_right(ends, span.start), bisect_left(ends, span.end)
            cuts |= {*ends[max(before - 1, 0) : before], *ends[after : after + 1]}
        edges = [0, *sorted(cuts), len(self.text)]
        return [self._part(start, end) for start, end in pairwise(edges)] if cuts else []

    def clauses(self) -> list["_Part"]:
        """Returns all clauses of the sentence. Short ones are part of the next one."""
        edges, fewest = [0], max(MIN_WORDS, -(-len(self.text.split()) // MAX_CLAUSES))
        for match in _CLAUSE_END.finditer(self.text):
            is_within = any(span.start < match.end() < span.end for span in self.spans)
            if not is_within and len(self.text[edges[-1] : match.end()].split()) >= fewest:
                edges.append(match.end())
        return [self._part(start, end) for start, end in pairwise([*edges, len(self.text)])]

    def with_tags(self, lost: Collection[int]) -> list[int]:
        """Adds all tags where one is lost, since a tag and its end belong together."""
        tags = [index for index, span in enumerate(self.spans) if span.kind is SpanKind.TAG]
        return sorted({*lost, *tags}) if not {*lost}.isdisjoint(tags) else sorted(lost)

    def parts_around(self, lost: Sequence[int], fewest_words: int) -> list["_Part"]:
        """Returns some spans of the sentence, at least one, and the parts between them.

        A span other than a tag stays in its part where fewer words would be between it and the span before, such as
        "at" or "to".
        """
        start = 0
        parted: list[int] = []
        for index in lost:
            span = self.spans[index]
            if span.kind is SpanKind.TAG or len(self.text[start : span.start].split()) >= fewest_words:
                parted.append(index)
                start = span.end
        start = 0
        parts = []
        for index in parted or lost[:1]:
            span = self.spans[index]
            possessive = POSSESSIVE.match(self.text, span.end)
            after = possessive[0] if possessive else ""
            parts += [self._part(start, span.start), _Part(self.renderings[index].text + after)]
            start = span.end + len(after)
        return [*parts, self._part(start, len(self.text))]

    def _part(self, start: int, end: int) -> "_Part":
        text = self.text[start:end]
        places = [index for index, span in enumerate(self.spans) if start <= span.start and span.end <= end]
        spans = [self.spans[index].moved(-start) for index in places]
        renderings = [self.renderings[index] for index in places]
        if not has_unprotected_words(text, spans):
            return _Part(insert_renderings(text, spans, renderings))
        edges = [edge for span in spans for edge in (span.start, span.end)]
        edges += [edge for match in [_WORDS.search(text)] if match for edge in match.span()]
        first, last = min(edges), max(edges)
        words = ProtectedSentence(text[first:last], [span.moved(-first) for span in spans], renderings)
        return _Part(text[:first], words, text[last:])


@dataclass(frozen=True)
class _Part:
    """A part of a sentence: its words with their spans if it has any, and what is before and after them."""

    before: str
    words: ProtectedSentence | None = None
    after: str = ""


def _is_alone(output: str, match: re.Match[str]) -> bool:
    """Whether a placeholder is a word or a number of its own."""
    before, after = output[max(match.start() - 1, 0) : match.start()], output[match.end() : match.end() + 1]
    if _WORD_CHARACTERS.match(before) or _WORD_CHARACTERS.match(after):
        return False
    return not match[0].isdecimal() or is_whole(output, match.start(), match.end())


@dataclass(frozen=True)
class CheckedOutput:
    """A translation, and what it has of the spans of its sentence."""

    text: str
    # Places of the renderings that have a numeral or a word which is not there.
    missing: frozenset[int]
    # The numerals that are not there, in reading order.
    absent: tuple[Numeral, ...]
    # Ranges of the numbers in the translation that belong to no span.
    extra: tuple[Range, ...]
    has_words: bool
    # Where numbers of the spans begin that have no space after a word.
    joined: tuple[int, ...]

    def add_spaces(self, source: str) -> str:
        """Returns the translation with spaces between words and numbers that have none, as in `über50`.

        What its sentence has in the same way, such as `mp3`, stays.
        """
        tokens = ((begin, _TOKEN_END.search(self.text, 0, begin)) for begin in self.joined)
        places = (begin for begin, token in tokens if token and token[0] + self.text[begin] not in source)
        return replaced(self.text, ((place, place, " ") for place in places))

    def repair(self) -> str | None:
        """Returns the translation with its wrong numbers replaced by those that are not there, in the same order.

        Returns None if that is not sure: words are not there either, or there are not as many wrong numbers.
        """
        absent, wrong = self.absent, {self.text[start:end] for start, end in self.extra}
        if len(absent) == len(wrong) == 1:
            # The translation may have it more than once.
            absent *= len(self.extra)
        if not self.has_words or len(absent) != len(self.extra):
            return None
        changes = []
        for (begin, end), numeral in zip(self.extra, absent, strict=True):
            has_unit = not numeral.units or _is_followed(self.text, end, numeral.units)
            space = " " if self.text[max(begin - 1, 0) : begin].isalpha() else ""
            half = _HALF_OF_DAY.match(self.text, end)
            written = f"{space}{numeral.localized}{'' if has_unit else f' {numeral.unit}'}"
            changes.append((begin, half.end() if half else end, written))
        return replaced(self.text, changes)


def check(output: str, renderings: Sequence[Rendering]) -> CheckedOutput:
    """Looks for the numerals and the words of spans, in reading order, in a translation."""
    taken: list[Range] = []
    places = [(index, numeral) for index, each in enumerate(renderings) for numeral in each.numerals]
    absent: set[int] = set()
    # A long form may contain a short one.
    for place in sorted(range(len(places)), key=lambda place: -max(map(len, places[place][1].forms))):
        numeral = places[place][1]
        forms = sorted(numeral.forms, key=lambda form: (-len(form), form))
        matches = (_find_number(form, numeral.units, output, taken) for form in forms)
        found = next((match for match in matches if match is not None), None)
        if found is None:
            absent.add(place)
        else:
            taken.append(found)
    nameless = {index for index, each in enumerate(renderings) if each.name and not _take_name(each, output, taken)}
    lowered = output.lower()
    wordless = nameless | {
        index
        for index, each in enumerate(renderings)
        if not all(any(word in lowered for word in group) for group in each.words)
    }
    numbers = (match.span() for match in _DIGITS.finditer(output))
    return CheckedOutput(
        text=output,
        missing=frozenset(places[place][0] for place in absent) | frozenset(wordless),
        absent=tuple(places[place][1] for place in sorted(absent)),
        extra=tuple(number for number in numbers if not overlaps(number, taken)),
        has_words=not wordless,
        joined=tuple(sorted(start for start, _ in taken if _ends_word(output[max(start - 2, 0) : start]))),
    )


def _find_number(form: str, units: Sequence[str], output: str, taken: Sequence[Range]) -> Range | None:
    """Returns where a number is in a translation, as a whole number that is not taken, with one of the units."""
    start = output.find(form)
    while start >= 0:
        end = start + len(form)
        is_found = is_whole(output, start, end) and not overlaps((start, end), taken)
        if is_found and (not units or _is_followed(output, end, units)):
            return start, end
        start = output.find(form, start + 1)
    return None


def _take_name(rendering: Rendering, output: str, taken: list[Range]) -> bool:
    """Takes the name of a span where it is in a translation, as whole words, and says whether it is there."""
    name = rendering.name
    start = output.find(name)
    while start >= 0:
        end = start + len(name)
        if rendering.may_end_in_s and output.startswith("s", end):
            end += 1
        is_whole_word = not _has_letter_at(output, start - 1) and not _has_letter_at(output, end)
        if is_whole_word and not overlaps((start, end), taken):
            taken.append((start, end))
            return True
        start = output.find(name, start + 1)
    return False


def _has_letter_at(text: str, place: int) -> bool:
    """Whether there is a letter, a digit or an underscore at a place, which may be outside of the text."""
    if not 0 <= place < len(text):
        return False
    return text[place].isalnum() or text[place] == "_"


def _is_followed(text: str, end: int, units: Sequence[str]) -> bool:
    """Whether one of the units is after a place, as a word, which may be inflected, or cut as `Kilo` is."""
    rest = text[end : end + UNIT_CHARACTERS].lstrip(f"{SPACES}-").lower()
    match = _WORD.match(rest)
    word = match[0] if match else ""
    return any(
        (rest.startswith(unit) and (unit[-1] >= FIRST_WITHOUT_SPACES or not rest[len(unit) : len(unit) + 1].isalpha()))
        or (word.startswith(unit) and len(unit) >= MIN_INFLECTED and len(word) - len(unit) <= MAX_ENDING)
        or (unit.startswith(word) and len(word) >= MIN_INFLECTED)
        for unit in units
    )


def _ends_word(end: str) -> bool:
    """Whether two characters are the end of a word: the letter of a name such as A4 is none."""
    return len(end) == 2 and end.isalpha() and end.islower()
