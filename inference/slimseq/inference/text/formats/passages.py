"""The passages of a paragraph: sentences with inline markup, which are translated whole.

A model translates a passage without its tags; `tags` puts them back. Code and images are atoms: each is one character
of the text, which must come back as it is. `html_document` and `markdown_document` read the parts of a paragraph.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Generic, Literal

import numpy as np

from slimseq.inference.generator import TextOutput
from slimseq.inference.text.formats.tags import ATOMS, WORD, Piece, Span, TagRestorer

# Limits of a passage: each piece of markup is compared with each word.
MAX_SPANS = len(ATOMS)
MAX_CHARACTERS = 2000
_SPACES = re.compile(r"[ \t\n\f\r]+")
# Characters of one call that replaces spaces, which holds the interpreter lock: a few milliseconds.
WINDOW_CHARACTERS = 50_000
_ENDS_SENTENCE = re.compile(r"[.!?…:;]['\"\u2019\u201d)\]]*\s*$")
# `mark` is markup without words, such as a comment. `line` is a line break that reads as a space, `break` one that is
# seen. `separator` is markup between texts that have nothing to do with each other.
Kind = Literal["text", "start", "end", "atom", "mark", "line", "break", "separator"]


@dataclass
class Part(Generic[Piece]):
    """A text between two tags, with references resolved, or an inline tag. A start and its end have the same `tag`."""

    markup: Sequence[Piece]
    text: str = ""
    kind: Kind = "text"
    tag: str = ""


@dataclass
class Passage(Generic[Piece]):
    """A text with references resolved, and the inline elements in it."""

    text: str
    write_text: Callable[[str], Piece]
    spans: list[Span[Piece]] = field(default_factory=list)

    @property
    def elements(self) -> list[Span[Piece]]:
        """The elements to find in a translation: with more than atoms, and less than all of the element around them."""
        root = Span[Piece]((), (), 0, len(self.text), self.spans)
        pairs = [(span, outer) for outer in root.walk() for span in outer.spans]
        parts = [span for span, outer in pairs if (span.start, span.end) != (outer.start, outer.end)]
        return [span for span in parts if self.text[span.start : span.end].strip(ATOMS + " ")]

    def fill(self, translation: TextOutput) -> list[Piece]:
        """Returns the translation of the text with its markup."""
        if not self.spans:
            # The passage has no atoms: a character that looks like one is one of the user's.
            return [self.write_text(translation.text)]
        found = {id(span): np.zeros(len(translation.text)) for span in self.elements}
        by_element = list(found.values())
        for score in translation.scores:
            by_element[score.element][score.start : score.end] = score.value
        restorer = TagRestorer(self.text, translation.text, found, self.write_text)
        return list(restorer.restore(self.spans, (0, len(self.text)), (0, len(translation.text))))


def find_passages(parts: Sequence[Part[Piece]], write_text: Callable[[str], Piece]) -> Iterator[Piece | Passage[Piece]]:
    """Yields the passages of a paragraph, and the markup between them, which is kept. `write_text` escapes a text."""
    for is_kept, group in groupby(_with_breaks(parts), lambda part: part.kind in ("separator", "break")):
        run = list(group)
        if is_kept:
            yield from (piece for part in run for piece in part.markup)
        elif (passage := _joint_passage(run, write_text)) is None:
            for piece in separate_passages(run, write_text):
                if isinstance(piece, Passage):
                    piece.text = with_single_spaces(piece.text)
                yield piece
        else:
            first, last = run[0].text, run[-1].text
            yield write_text(first[: len(first) - len(first.lstrip())])
            yield passage
            yield write_text(last[len(last.rstrip()) :])


def separate_passages(
    parts: Sequence[Part[Piece]], write_text: Callable[[str], Piece]
) -> Iterator[Piece | Passage[Piece]]:
    """Yields each text as a passage of its own, with its spaces and line breaks, and all markup between them."""
    for part in _join_texts(parts):
        content = part.text.strip()
        if part.kind != "text" or not has_words(content):
            yield from part.markup
            continue
        start = part.text.index(content[0])
        yield write_text(part.text[:start])
        yield Passage(content, write_text)
        yield write_text(part.text[start + len(content) :])


def has_words(text: str) -> bool:
    # Not `any(map(...))`, which would hold the interpreter where a million characters are no letters.
    return any(character.isalpha() for character in text)


def with_single_spaces(text: str) -> str:
    """Returns a text with one space for each run of the characters that HTML calls white space."""
    pieces: list[str] = []
    for start in range(0, len(text), WINDOW_CHARACTERS):
        piece = _SPACES.sub(" ", text[start : start + WINDOW_CHARACTERS])
        if pieces and pieces[-1].endswith(" "):
            # A run goes on in this window.
            piece = piece.removeprefix(" ")
        if piece:
            pieces.append(piece)
    return "".join(pieces)


def _with_breaks(parts: Iterable[Part[Piece]]) -> list[Part[Piece]]:
    """Returns parts in which each line break is a space, or a mark within a sentence, or separates sentences."""
    decided: list[Part[Piece]] = []
    parts = _join_texts(parts)
    depth = 0
    for index, part in enumerate(parts):
        depth += (part.kind == "start") - (part.kind == "end")
        if part.kind == "line":
            is_first = index > 0 and parts[index - 1].kind == "separator"
            is_end = is_first or _ENDS_SENTENCE.search(_text_beside(parts, index, -1))
            part = Part(part.markup, kind="break") if is_end and depth == 0 else Part(part.markup, " ")
        elif part.kind == "break" and depth == 0:
            before, after = _text_beside(parts, index, -1), _text_beside(parts, index, 1)
            if after[:1].islower() and has_words(before) and not _ENDS_SENTENCE.search(before):
                part = Part(part.markup, " ", kind="mark")
        decided.append(part)
    return _join_texts(decided)


def _join_texts(parts: Iterable[Part[Piece]]) -> list[Part[Piece]]:
    """Returns parts in which no texts are side by side."""
    joined: list[Part[Piece]] = []
    for kind, group in groupby(parts, lambda part: part.kind):
        run = list(group)
        if kind == "text":
            run = [Part([piece for part in run for piece in part.markup], "".join(part.text for part in run))]
        joined += run
    return joined


def _text_beside(parts: Sequence[Part[Piece]], index: int, step: int) -> str:
    """Returns the text next to a part, without the tags between, and an empty one where something else is next."""
    index += step
    while 0 <= index < len(parts) and parts[index].kind in ("start", "end", "mark"):
        index += step
    return parts[index].text.strip() if 0 <= index < len(parts) and parts[index].kind == "text" else ""


def _joint_passage(parts: Sequence[Part[Piece]], write_text: Callable[[str], Piece]) -> Passage[Piece] | None:
    """Returns texts and inline tags as one passage.

    Returns None where that gains nothing or takes too long: no words are beside an element, as in a menu of links, an
    element is not closed among the parts, or there is too much.
    """
    if not 0 < sum(part.kind not in ("text", "end") for part in parts) <= MAX_SPANS:
        return None
    written = "".join(part.text for part in parts)
    if len(written) > MAX_CHARACTERS or not set(ATOMS).isdisjoint(written):
        return None
    text = ""
    root = Span[Piece]((), (), 0, 0)
    opened, tags = [root], [""]
    atoms = iter(ATOMS)
    for part in parts:
        if part.kind == "text":
            words = with_single_spaces(part.text)
            opened[-1].space = "" if words.strip() else words
            text += words[1:] if text.endswith(" ") and words.startswith(" ") else words
            continue
        if part.kind == "end":
            if len(opened) == 1 or tags.pop() != part.tag:
                return None
            span = opened.pop()
            span.closing, span.end = part.markup, len(text)
            span.space = "" if text[span.start :].strip() else span.space
            span.is_break = bool(span.space)
            continue
        is_break = part.kind == "mark" and bool(part.text)
        text += " " if is_break and not text.endswith(" ") else ""
        span = Span(part.markup, (), len(text), len(text), is_atom=part.kind == "atom", is_break=is_break)
        opened[-1].spans.append(span)
        if span.is_atom:
            text += next(atoms)
            span.end = len(text)
        elif part.kind == "start":
            opened.append(span)
            tags.append(part.tag)
    root.end = len(text)
    if len(opened) > 1 or not any(_is_mixed(span, text) for span in root.walk()):
        return None
    content = text.strip()
    for span in list(root.walk())[1:]:
        _trim(span, text, text.index(content[0]), len(content))
    return Passage(content, write_text, root.spans)


def _is_mixed(span: Span[Piece], text: str) -> bool:
    """Whether words are beside an element that holds some, or on both sides of one."""
    starts, stops = [each.start for each in span.spans], [each.end for each in span.spans]
    beside = [text[stop:start] for stop, start in zip([span.start, *stops], [*starts, span.end], strict=True)]
    with_words = sum(map(has_words, beside))
    is_held = any(WORD.search(text, each.start, each.end) for each in span.spans)
    return with_words > 1 or (with_words > 0 and is_held)


def _trim(span: Span[Piece], text: str, start: int, length: int) -> None:
    """Moves the edges of an element to its words, and counts them from where the passage starts."""
    inner = text[span.start : span.end]
    trimmed = inner.strip()
    edge = span.start + (inner.index(trimmed[0]) if trimmed else 0)
    span.start = min(max(edge - start, 0), length)
    span.end = span.start + len(trimmed)
