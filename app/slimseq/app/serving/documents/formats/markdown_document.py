"""Markdown for translation: the contents of its blocks, and the same Markdown with other contents in their place.

Everything else stays byte for byte: front matter, code, HTML blocks, link reference definitions, bullets, empty lines.
A line break within a sentence becomes a space; one after a sentence, and one that is seen, stays. What a model writes
is escaped. Each block is parsed again after it is written: if its structure changed, it is written in another way, and
at last it stays as it was.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from slimseq.app.serving.documents.formats.document import Document, Written
from slimseq.app.serving.documents.formats.html_document import ATOMIC, CODE, INLINE, VOID
from slimseq.app.serving.documents.formats.inline import Kind, Part, Passage, arranged
from slimseq.app.serving.documents.formats.markdown_escape import (
    GAP,
    GAP_AT_END,
    MAX_GAPS,
    at_line_start,
    escaped,
    gap_mark,
    without_hashes_at_end,
)
from slimseq.app.serving.documents.formats.markdown_source import Content, Piece, blocks_of, contents_of, inline_pieces
from slimseq.app.serving.documents.formats.markdown_structure import inline_structure, is_one_block
from slimseq.app.serving.documents.formats.placing import Span

# Of YAML (`---`) or TOML (`+++`).
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n(?=[\w\"'-]+[ \t]*[:=])(?:.*\n)*?(?:\1|\.\.\.)[ \t]*(?:\n|$)")
# The box of a task, or the kind of an alert, which GitHub reads.
_MARK = re.compile(r"\[[ xX]\](?=\s)|\[!\w+\]")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)")
_NOT_TRANSLATED = re.compile(r"\stranslate\s*=\s*[\"']?no\b", re.IGNORECASE)
_EMPHASIS = frozenset({"*", "_", "**", "__"})
# Delimiters of emphasis to try, in turns at each depth: those of the source first.
_DELIMITERS = ("", "*_", "_*", "*")
# Tokens in an inline HTML element that is not translated.
MAX_ATOM_TOKENS = 64
_LINE_INDENT = re.compile(r"\n[ \t]*")


def reading_markdown(source: str) -> Generator[None, None, Document]:
    """Splits Markdown into markup and texts, in small steps.

    Args:
        source: a document.

    Raises:
        MarkupTooComplex: blocks are nested too deep, or one has too much in it.
    """
    line_end = "\r\n" if "\r\n" in source else "\n"
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    # A byte order mark would hide the markup after it.
    start = int(source.startswith("\ufeff"))
    matter = _FRONT_MATTER.match(source, start)
    start = matter.end() if matter else start
    body = source[start:]
    environment: dict[str, Any] = {}
    first_line = source.count("\n", 0, start) + 1
    tokens = yield from blocks_of(body, environment, first_line)
    contents = yield from contents_of(body, tokens, environment, first_line)
    document = Document()
    before, position = source[:start], 0
    said = []
    for content in contents:
        said.append(_said(content.pieces))
        pieces = list(arranged(list(_parts(content)), escaped))
        if len(content.gaps) < MAX_GAPS and any(isinstance(piece, Passage) for piece in pieces):
            before += body[position : content.start]
            own = body[content.start : content.end]
            document.sections.append(_Block(before, own, line_end, content, pieces, environment))
            before, position = "", content.end
        yield
    document.after = (before + body[position:]).replace("\n", line_end)
    document.plain = "\n".join(line for line in said if line)
    return document


@dataclass
class _Block:
    """A section: markup, and the content of one block.

    Args:
        before: the markup.
        source: the content as it is written.
        line_end: of the document.
        content: the content.
        pieces: markup of the content, and passages.
        environment: has the link reference definitions.
    """

    before: str
    source: str
    line_end: str
    content: Content
    pieces: list[str | Passage]
    environment: dict[str, Any]

    @cached_property
    def texts(self) -> list[str]:
        return [text for piece in self.pieces if isinstance(piece, Passage) for text in piece.texts]

    def written(self, translations: Sequence[str]) -> Written:
        untranslated: tuple[str, ...] = ()
        attempt = next(filter(self._is_same, self._attempts(translations)), None)
        if attempt is None:
            text = self.source
            untranslated = tuple(piece.text for piece in self.pieces if isinstance(piece, Passage))
        elif self.content.kind == "cell":
            text = attempt.replace("|", "\\|")
        else:
            text = GAP.sub(lambda gap: self._gap(gap)[0], attempt)
        return Written((self.before + text).replace("\n", self.line_end), untranslated)

    def _attempts(self, translations: Sequence[str]) -> Iterator[str]:
        """Yields the content with translations, and with different delimiters of emphasis."""
        tried: set[str] = set()
        for delimiters in _DELIMITERS:
            attempt = self._rendered(translations, delimiters)
            if attempt is not None and attempt not in tried:
                tried.add(attempt)
                yield attempt

    def _rendered(self, translations: Sequence[str], delimiters: str) -> str | None:
        """Returns the content with translations, and marks for its line breaks; None if a text would be empty."""
        written = []
        start = 0
        is_line_start = self.content.kind in ("paragraph", "underlined")
        for piece in self.pieces:
            if isinstance(piece, str):
                written.append(piece)
                is_line_start = bool(GAP_AT_END.search(piece)) or (is_line_start and not piece.strip())
                continue
            count = len(piece.texts)
            if not translations[start].strip():
                return None
            filled = _with_delimiters(piece, delimiters).filled(translations[start : start + count])
            written.append(at_line_start(filled) if is_line_start else filled)
            is_line_start = False
            start += count
        text = "".join(written).strip()
        return without_hashes_at_end(text) if self.content.kind == "heading" else text

    def _is_same(self, attempt: str) -> bool:
        """Whether a content, with marks for its line breaks, has the structure of this one."""
        text = GAP.sub(lambda gap: self._gap(gap)[1], attempt)
        pieces = inline_pieces(text, self.environment) if is_one_block(self.content.kind, text) else None
        if pieces is None:
            return False
        own, found = ([piece.token for piece in each] for each in (self.content.pieces, pieces))
        return inline_structure(own) == inline_structure(found)

    def _gap(self, mark: re.Match[str]) -> tuple[str, str]:
        return self.content.gaps[ord(mark[0][1]) - ord(gap_mark(0)[1])]


def _with_delimiters(passage: Passage, delimiters: str) -> Passage:
    """Returns a passage whose emphasis has these delimiters, in turns at each depth; none change nothing."""

    def changed(spans: Sequence[Span], depth: int) -> list[Span]:
        found = []
        for span in spans:
            inner = changed(span.spans, depth + 1)
            opening, closing = span.opening, span.closing
            if opening in _EMPHASIS:
                opening = closing = delimiters[depth % len(delimiters)] * len(opening)
            found.append(replace(span, opening=opening, closing=closing, spans=inner))
        return found

    return replace(passage, spans=changed(passage.spans, 0)) if delimiters else passage


def _parts(content: Content) -> Iterator[Part]:
    """Yields the parts of a content."""
    pieces = content.pieces
    breaks = [match.start() for match in _LINE_INDENT.finditer(content.text)]

    def written(start: int, end: int) -> str:
        first = bisect_left(breaks, start)
        numbers = iter(range(first, len(breaks)))
        return _LINE_INDENT.sub(lambda _: gap_mark(next(numbers)), content.text[start:end])

    index = 0
    while index < len(pieces):
        token, start, end = pieces[index].token, pieces[index].start, pieces[index].end
        index += 1
        match token.type:
            case "text":
                yield from _texts(content, token.content, start)
            case "text_special":
                yield Part(written(start, end), token.content)
            case "softbreak":
                yield Part(written(start, end), kind="soft")
            case "hardbreak":
                yield Part(written(start, end), kind="break")
            case "link_open" if token.info == "auto":
                index += 2
                yield Part(written(start, pieces[index - 1].end), kind="atom")
            case "link_close":
                yield Part(_link_end(content, pieces, index - 1, written), kind="end", tag=token.tag)
            case "html_inline":
                last, kind, tag = _html(pieces, index - 1)
                index = last + 1
                yield Part(written(start, pieces[last].end), kind=kind, tag=tag)
            case _ if token.nesting:
                yield Part(written(start, end), kind="start" if token.nesting > 0 else "end", tag=token.tag)
            case _:
                yield Part(written(start, end), kind="atom")


def _texts(content: Content, text: str, start: int) -> Iterator[Part]:
    """Yields a text without what GitHub reads in texts: boxes of tasks, kinds of alerts, footnotes."""
    position = 0
    if start == 0 and (mark := _MARK.match(text)):
        position = mark.end()
        yield Part(text[:position], kind="fence")
    for footnote in _FOOTNOTE.finditer(text, position):
        is_definition = start + footnote.start() == 0 and text.startswith(":", footnote.end())
        end = footnote.end() + is_definition
        if position < footnote.start():
            yield Part(text[position : footnote.start()], text[position : footnote.start()])
        yield Part(text[footnote.start() : end], kind="fence" if is_definition else "atom")
        position = end
    if position < len(text):
        yield Part(text[position:], text[position:])


def _link_end(content: Content, pieces: Sequence[Piece], index: int, written: Callable[[int, int], str]) -> str:
    """Returns the end of a link. One whose text is its label gets the label, since the text changes."""
    start, end = pieces[index].start, pieces[index].end
    if content.text[start:end] not in ("]", "][]"):
        return written(start, end)
    depth = 1
    while depth:
        index -= 1
        depth -= {"link_open": 1, "link_close": -1}.get(pieces[index].token.type, 0)
    return f"][{' '.join(content.text[pieces[index].end : start].split())}]"


def _html(pieces: Sequence[Piece], index: int) -> tuple[int, Kind, str]:
    """Returns what an inline HTML tag is to its sentence, and the last token of it."""
    source = pieces[index].token.content
    found = _TAG.match(source)
    if found is None:
        return index, "mark", ""
    tag = found[2].lower()
    is_kept = tag in CODE or (tag in INLINE and _NOT_TRANSLATED.search(source) is not None)
    if tag in VOID:
        kind: Kind = "break" if tag == "br" else "mark" if tag == "wbr" else "atom" if tag in ATOMIC else "fence"
        return index, kind, ""
    if is_kept and not found[1]:
        for last in range(index + 1, min(index + MAX_ATOM_TOKENS, len(pieces))):
            if pieces[last].token.content.lower().startswith(f"</{tag}"):
                return last, "atom", ""
    if tag not in INLINE or is_kept or source.endswith("/>"):
        return index, "fence", ""
    return index, "end" if found[1] else "start", f"<{tag}>"


def _said(pieces: Sequence[Piece]) -> str:
    """Returns the text of a content."""
    texts = []
    for token in (piece.token for piece in pieces):
        if token.type in ("text", "text_special", "code_inline"):
            texts.append(token.content)
        elif token.type == "softbreak":
            texts.append(" ")
        elif token.type == "hardbreak" or token.content.startswith("<br"):
            texts.append("\n")
    return "".join(texts).strip()
