"""Passages: sentences with inline markup, and the markup put back into the translation.

A model translates a sentence without its tags (`placing` puts them back). Code and images are atoms: each is one
character of the text, which must come back as it is.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from slimseq.app.serving.documents.formats.placing import ATOMS, WORD, Escape, Placing, Span

# Of a text that is translated whole. To put more markup back, or into a longer text, would take too long.
MAX_SPANS = len(ATOMS)
MAX_CHARACTERS = 2000
SPACES = re.compile(r"[ \t\n\f\r]+")
_ENDS_SENTENCE = re.compile(r"[.!?…:;]['\"\u2019\u201d)\]]*\s*$")
# `mark`: markup without words, such as a comment. `soft`: a line break that is a space. `break`: one that is seen.
# `fence`: markup that parts texts.
Kind = Literal["text", "start", "end", "atom", "mark", "soft", "break", "fence"]


@dataclass
class Part:
    """A text between two tags, or an inline tag: as it is written, and with references resolved.

    `tag` is what a start has in common with its end.
    """

    written: str
    resolved: str = ""
    kind: Kind = "text"
    tag: str = ""


@dataclass
class Passage:
    """A text with character references resolved, and the inline elements in it."""

    text: str
    escape: Escape
    spans: list[Span] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """What is to be translated: the text, and the words alone of the elements that have to be found in it."""
        return [self.text, *(self.text[span.start : span.end] for span in self._searched())]

    def filled(self, translations: Sequence[str]) -> str:
        """Returns the translation of the text with its markup.

        Args:
            translations: of `texts`.
        """
        translation, *alone = translations
        if not self.spans:
            # No element has been found in it: a character that looks like an atom is one of the user's.
            return self.escape("", translation, "")
        hints = {id(span): words for span, words in zip(self._searched(), alone, strict=True)}
        placing = Placing(self.text, translation, hints, self.escape)
        return placing.rendered(self.spans, (0, len(self.text)), (0, len(translation)))

    def _searched(self) -> Iterator[Span]:
        return _searched(self.text, self.spans, (0, len(self.text)))


def arranged(parts: Sequence[Part], escape: Escape) -> Iterator[str | Passage]:
    """Yields markup that is kept, and the passages between it.

    Args:
        parts: of a paragraph.
        escape: of the markup.
    """
    run: list[Part] = []
    for part in _with_breaks(parts):
        if part.kind in ("fence", "break"):
            yield from _run(run, escape)
            yield part.written
            run = []
        else:
            run.append(part)
    yield from _run(run, escape)


def in_pieces(parts: Sequence[Part], escape: Escape, *, is_preformatted: bool = False) -> Iterator[str | Passage]:
    """Yields each text of a paragraph as a passage of its own, and all markup between them."""
    for part in parts:
        content = part.resolved.strip()
        if part.kind != "text" or not has_words(content):
            yield part.written
            continue
        start = part.resolved.index(content[0])
        yield part.resolved[:start]
        yield Passage(content if is_preformatted else SPACES.sub(" ", content), escape)
        yield part.resolved[start + len(content) :]


def has_words(text: str) -> bool:
    """Whether a text has anything to translate."""
    return any(map(str.isalpha, text))


def _with_breaks(parts: Sequence[Part]) -> Iterator[Part]:
    """Yields parts in which each line break is a space, or a mark within a sentence, or parts sentences.

    Texts side by side are one.
    """
    texts: list[Part] = []
    depth = 0
    for index, part in enumerate(parts):
        depth += (part.kind == "start") - (part.kind == "end")
        given = part
        if part.kind == "soft":
            ended = _ENDS_SENTENCE.search(_text_beside(parts, index, -1)) or (
                index and parts[index - 1].kind == "fence"
            )
            is_end = depth == 0 and bool(ended)
            given = Part(part.written, kind="break") if is_end else Part(part.written, " ")
        elif part.kind == "break" and depth == 0:
            before, after = _text_beside(parts, index, -1), _text_beside(parts, index, 1)
            if after[:1].islower() and has_words(before) and not _ENDS_SENTENCE.search(before):
                given = Part(part.written, " ", kind="mark")
        if given.kind == "text":
            texts.append(given)
            continue
        if texts:
            yield _one(texts)
            texts = []
        yield given
    if texts:
        yield _one(texts)


def _one(texts: Sequence[Part]) -> Part:
    return Part("".join(part.written for part in texts), "".join(part.resolved for part in texts))


def _text_beside(parts: Sequence[Part], index: int, step: int) -> str:
    """Returns the text next to a part, without the tags between, and an empty one where something else is next."""
    index += step
    while 0 <= index < len(parts) and parts[index].kind in ("start", "end", "mark"):
        index += step
    return parts[index].resolved.strip() if 0 <= index < len(parts) and parts[index].kind == "text" else ""


def _run(parts: Sequence[Part], escape: Escape) -> Iterator[str | Passage]:
    found = _joined(parts, escape)
    yield from in_pieces(parts, escape) if found is None else found


def _joined(parts: Sequence[Part], escape: Escape) -> tuple[str, Passage, str] | None:
    """Returns texts and inline tags as one passage, and the spaces around it.

    Returns None where that gains nothing or takes too long: no words are beside an element, as in a menu of links, an
    element is not closed among the parts, or there is too much.
    """
    if not 0 < sum(part.kind not in ("text", "end") for part in parts) <= MAX_SPANS:
        return None
    resolved = [part.resolved for part in parts]
    if sum(map(len, resolved)) > MAX_CHARACTERS or any(not _is_plain(text) for text in resolved):
        return None
    text = ""
    root = Span(0, "")
    opened, tags = [root], [""]
    atoms = iter(ATOMS)
    for part in parts:
        if part.kind == "text":
            words = SPACES.sub(" ", part.resolved)
            text += words[1:] if text.endswith(" ") and words.startswith(" ") else words
        elif part.kind == "end":
            if len(opened) == 1 or tags.pop() != part.tag:
                return None
            span = opened.pop()
            span.closing, span.end = part.written, len(text)
        else:
            is_break = part.kind == "mark" and bool(part.resolved)
            text += " " if is_break and not text.endswith(" ") else ""
            span = Span(len(text), part.written, len(text), is_atom=part.kind == "atom", is_break=is_break)
            opened[-1].spans.append(span)
            if span.is_atom:
                text += next(atoms)
                span.end = len(text)
            elif part.kind == "start":
                opened.append(span)
                tags.append(part.tag)
    root.end = len(text)
    if len(opened) > 1 or not _is_mixed(root, text):
        return None
    content = text.strip()
    start = text.index(content[0])
    _trim(root.spans, text, start, start + len(content))
    first, last = parts[0].resolved, parts[-1].resolved
    before, after = first[: len(first) - len(first.lstrip())], last[len(last.rstrip()) :]
    return before, Passage(content, escape, root.spans), after


def _is_plain(text: str) -> bool:
    """Whether a text has no character that stands for an atom."""
    return text.isascii() or not any(character in ATOMS for character in text)


def _is_mixed(span: Span, text: str) -> bool:
    """Whether words are beside an element that holds something, or on both sides of one, here or deeper."""
    starts, stops = [each.start for each in span.spans], [each.end for each in span.spans]
    beside = [text[stop:start] for stop, start in zip([span.start, *stops], [*starts, span.end], strict=True)]
    with_words = sum(map(has_words, beside))
    is_held = any(WORD.search(text, each.start, each.end) for each in span.spans)
    return with_words > 1 or (with_words > 0 and is_held) or any(_is_mixed(each, text) for each in span.spans)


def _trim(spans: Sequence[Span], text: str, start: int, stop: int) -> None:
    """Moves the edges of elements to their words, and counts them from where the passage starts."""
    for span in spans:
        inner = text[span.start : span.end]
        trimmed = inner.strip()
        edge = span.start + (inner.index(trimmed[0]) if trimmed else 0)
        span.start = min(max(edge, start), stop) - start
        span.end = span.start + len(trimmed)
        _trim(span.spans, text, start, stop)


def _searched(text: str, spans: Sequence[Span], within: tuple[int, int]) -> Iterator[Span]:
    """Yields the elements that hold more than atoms, and not all that is between the bounds."""
    for span in spans:
        place = span.start, span.end
        if span.start < span.end and place != within and text[span.start : span.end].strip(ATOMS + " "):
            yield span
        yield from _searched(text, span.spans, place)
