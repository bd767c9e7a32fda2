"""The passages of a paragraph: sentences with inline markup, which are translated whole.

`html_document` and `markdown_document` read a paragraph as parts: texts, tags and line breaks. `find_passages` makes
passages of the parts. A model translates a passage without its tags, and `tags` puts them back. Code and images are
atoms: each is one character of the passage's text, which must come back as it is.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Generic, Literal

import numpy as np

from slimseq.inference.generator import TextOutput
from slimseq.inference.text.formats.tags import ATOMS, WORD, InlineElement, Markup, TagRestorer

# Limits of a passage: each inline element is compared with each word. There is one atom for each element at least.
MAX_ELEMENTS = len(ATOMS)
MAX_CHARACTERS = 2000
_SPACES = re.compile(r"[ \t\n\f\r]+")
# Characters of one call that replaces spaces, which holds the interpreter lock: a few milliseconds.
WINDOW_CHARACTERS = 50_000
_ENDS_SENTENCE = re.compile(r"[.!?…:;]['\"\u2019\u201d)\]]*\s*$")
# `start` and `end` are the tags of an inline element. `atom` is code or an image. `mark` is markup without words, such
# as a comment. `line` is a line break of the source that reads as a space, `break` one that readers see. `separator` is
# markup between texts that have nothing to do with each other.
Kind = Literal["text", "start", "end", "atom", "mark", "line", "break", "separator"]


@dataclass
class InlinePart(Generic[Markup]):
    """A part of a paragraph: a text between two tags, with references resolved, or one tag.

    `text` is empty unless `kind` is "text", or a "mark" that reads as a space. A start and its end have the same `tag`.
    """

    markup: Sequence[Markup]
    text: str = ""
    kind: Kind = "text"
    tag: str = ""


@dataclass
class Passage(Generic[Markup]):
    """A text with references resolved, and the outermost inline elements in it. `write_text` escapes a text."""

    text: str
    write_text: Callable[[str], Markup]
    outermost: list[InlineElement[Markup]] = field(default_factory=list)

    @property
    def elements_to_find(self) -> list[InlineElement[Markup]]:
        """The elements to find in a translation.

        An element that has only atoms is found by its atoms. An element that is all of its parent goes where the parent
        goes.
        """
        root = InlineElement[Markup]((), (), 0, len(self.text), self.outermost)
        pairs = [(child, parent) for parent in root.walk() for child in parent.children]
        smaller = [child for child, parent in pairs if (child.start, child.end) != (parent.start, parent.end)]
        return [element for element in smaller if self.text[element.start : element.end].strip(ATOMS + " ")]

    def fill(self, translation: TextOutput) -> list[Markup]:
        """Returns the translation of the text with its markup."""
        if not self.outermost:
            # The passage has no atoms: a character that looks like an atom belongs to the user's text.
            return [self.write_text(translation.text)]
        scores = {id(element): np.zeros(len(translation.text)) for element in self.elements_to_find}
        by_index = list(scores.values())
        for score in translation.scores:
            by_index[score.element][score.start : score.end] = score.value
        restorer = TagRestorer(self.text, translation.text, scores, self.write_text)
        return list(restorer.restore(self.outermost, (0, len(self.text)), (0, len(translation.text))))


def find_passages(
    parts: Sequence[InlinePart[Markup]], write_text: Callable[[str], Markup]
) -> Iterator[Markup | Passage[Markup]]:
    """Yields the passages of a paragraph, and the markup between them, which is kept. `write_text` escapes a text."""
    for is_kept, group in groupby(_with_breaks(parts), lambda part: part.kind in ("separator", "break")):
        run = list(group)
        if is_kept:
            yield from (markup for part in run for markup in part.markup)
            continue
        passage = _joint_passage(run, write_text)
        if passage is not None:
            first, last = run[0].text, run[-1].text
            yield write_text(first[: len(first) - len(first.lstrip())])
            yield passage
            yield write_text(last[len(last.rstrip()) :])
            continue
        for piece in separate_passages(run, write_text):
            if isinstance(piece, Passage):
                piece.text = with_single_spaces(piece.text)
            yield piece


def separate_passages(
    parts: Sequence[InlinePart[Markup]], write_text: Callable[[str], Markup]
) -> Iterator[Markup | Passage[Markup]]:
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


def _with_breaks(parts: Iterable[InlinePart[Markup]]) -> list[InlinePart[Markup]]:
    """Returns the parts with each line break decided: it is a space, a mark in a sentence, or the end of a sentence."""
    decided: list[InlinePart[Markup]] = []
    parts = _join_texts(parts)
    # How many inline elements are open.
    depth = 0
    for index, part in enumerate(parts):
        if part.kind == "start":
            depth += 1
        elif part.kind == "end":
            depth -= 1
        elif part.kind == "line":
            is_after_separator = index > 0 and parts[index - 1].kind == "separator"
            is_end = is_after_separator or _ENDS_SENTENCE.search(_text_beside(parts, index, -1))
            ends_sentence = bool(is_end) and depth == 0
            part = InlinePart(part.markup, kind="break") if ends_sentence else InlinePart(part.markup, " ")
        elif part.kind == "break" and depth == 0:
            before, after = _text_beside(parts, index, -1), _text_beside(parts, index, 1)
            if after[:1].islower() and has_words(before) and not _ENDS_SENTENCE.search(before):
                # The sentence goes on after the break.
                part = InlinePart(part.markup, " ", kind="mark")
        decided.append(part)
    return _join_texts(decided)


def _join_texts(parts: Iterable[InlinePart[Markup]]) -> list[InlinePart[Markup]]:
    """Returns parts in which no texts are side by side."""
    joined: list[InlinePart[Markup]] = []
    for kind, group in groupby(parts, lambda part: part.kind):
        run = list(group)
        if kind == "text":
            markup = [markup for part in run for markup in part.markup]
            run = [InlinePart(markup, "".join(part.text for part in run))]
        joined += run
    return joined


def _text_beside(parts: Sequence[InlinePart[Markup]], index: int, step: int) -> str:
    """Returns the text next to a part, across the tags between. It is empty where something else is next.

    `step` is -1 for the text before the part, 1 for the one after it.
    """
    index += step
    while 0 <= index < len(parts) and parts[index].kind in ("start", "end", "mark"):
        index += step
    return parts[index].text.strip() if 0 <= index < len(parts) and parts[index].kind == "text" else ""


def _joint_passage(parts: Sequence[InlinePart[Markup]], write_text: Callable[[str], Markup]) -> Passage[Markup] | None:
    """Returns texts and inline tags as one passage.

    Returns None where that gains nothing or takes too long: no words are beside an element, as in a menu of links, an
    element is not closed among the parts, or there is too much.
    """
    elements = sum(part.kind not in ("text", "end") for part in parts)
    if not 0 < elements <= MAX_ELEMENTS:
        return None
    written = "".join(part.text for part in parts)
    if len(written) > MAX_CHARACTERS or not set(ATOMS).isdisjoint(written):
        return None
    tree = _ElementTree[Markup]()
    for part in parts:
        if part.kind == "text":
            tree.add_text(part.text)
        elif part.kind != "end":
            tree.open(part)
        elif tree.is_innermost(part.tag):
            tree.close(part)
        else:
            return None
    tree.root.end = len(tree.text)
    if not tree.is_closed or not any(_is_mixed(element, tree.text) for element in tree.root.walk()):
        return None
    content = tree.text.strip()
    offset = tree.text.index(content[0])
    for element in list(tree.root.walk())[1:]:
        _trim(element, tree.text, offset, len(content))
    return Passage(content, write_text, tree.root.children)


class _ElementTree(Generic[Markup]):
    """The text of a passage and the tree of its inline elements, which grow part by part."""

    def __init__(self) -> None:
        self.text = ""
        # Stands for the whole passage. It has no tags.
        self.root = InlineElement[Markup]((), (), 0, 0)
        # The open elements and their tags, the innermost one last.
        self._open = [self.root]
        self._tags = [""]
        self._free_atoms = iter(ATOMS)

    @property
    def is_closed(self) -> bool:
        return len(self._open) == 1

    def is_innermost(self, tag: str) -> bool:
        """Whether the element that was opened last has this tag."""
        return not self.is_closed and self._tags[-1] == tag

    def add_text(self, written: str) -> None:
        text = with_single_spaces(written)
        self._open[-1].space = "" if text.strip() else text
        self.text += text[1:] if self.text.endswith(" ") and text.startswith(" ") else text

    def open(self, part: InlinePart[Markup]) -> None:
        """Adds an element. An atom or a mark has no end, so that only a start stays open."""
        is_break = part.kind == "mark" and bool(part.text)
        if is_break and not self.text.endswith(" "):
            self.text += " "
        start = len(self.text)
        element = InlineElement(part.markup, (), start, start, is_atom=part.kind == "atom", is_break=is_break)
        self._open[-1].children.append(element)
        if element.is_atom:
            self.text += next(self._free_atoms)
            element.end = len(self.text)
        elif part.kind == "start":
            self._open.append(element)
            self._tags.append(part.tag)

    def close(self, part: InlinePart[Markup]) -> None:
        """Closes the element that was opened last."""
        self._tags.pop()
        element = self._open.pop()
        element.closing, element.end = part.markup, len(self.text)
        if self.text[element.start :].strip():
            element.space = ""
        element.is_break = bool(element.space)


def _is_mixed(element: InlineElement[Markup], text: str) -> bool:
    """Whether an element mixes words and elements: a child has words and words are beside it, or words surround it."""
    starts = [child.start for child in element.children]
    ends = [child.end for child in element.children]
    gaps = zip([element.start, *ends], [*starts, element.end], strict=True)
    gaps_with_words = sum(has_words(text[start:end]) for start, end in gaps)
    has_child_with_words = any(WORD.search(text, child.start, child.end) for child in element.children)
    return gaps_with_words > 1 or (gaps_with_words > 0 and has_child_with_words)


def _trim(element: InlineElement[Markup], text: str, offset: int, length: int) -> None:
    """Moves the edges of an element to its words, and counts them from where the passage starts, at an offset."""
    inner = text[element.start : element.end]
    trimmed = inner.strip()
    edge = element.start + (inner.index(trimmed[0]) if trimmed else 0)
    element.start = min(max(edge - offset, 0), length)
    element.end = element.start + len(trimmed)
