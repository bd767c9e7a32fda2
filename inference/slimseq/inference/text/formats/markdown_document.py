"""Markdown for translation: the contents of its blocks, and the same Markdown with other contents in their place.

Blocks without words stay byte for byte, as do front matter, link reference definitions and empty lines. A block with
words is written anew from its tokens: its structure stays, and the spelling of its markup is normalized. Its structure
is compared with that of the source: if it changed, it is written in another way, and at last it stays as it was.
"""

import re
from collections import ChainMap
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it.token import Token

from slimseq.inference.generator import TextOutput
from slimseq.inference.text.errors import MarkupTooComplex
from slimseq.inference.text.formats.document import MAX_PIECES, Document, Section, Written, check_pieces
from slimseq.inference.text.formats.html_document import ATOMIC, CODE, INLINE, VOID
from slimseq.inference.text.formats.markdown_syntax import (
    MAX_NESTING,
    block_structure,
    inline_structure,
    parse,
    write_tokens,
)
from slimseq.inference.text.formats.passages import InlinePart, Kind, Passage, find_passages

# Limits of a document. At them, nothing but markup takes about ten seconds of CPU time to read and to write.
MAX_CHARACTERS, MAX_CONTENTS = 100_000, 10_000
# Tokens in an inline HTML element that is not translated.
MAX_ATOM_TOKENS = 64
# Of YAML (`---`) or TOML (`+++`).
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n(?=[\w\"'-]+[ \t]*[:=])(?:.*\n)*?(?:\1|\.\.\.)[ \t]*(?:\n|$)")
# The box of a task, or the kind of an alert, which GitHub reads.
_BOX_OR_ALERT = re.compile(r"\[[ xX]\](?=\s)|\[!\w+\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]++\]")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)")
_NOT_TRANSLATED = re.compile(r"\stranslate\s*=\s*[\"']?no\b", re.IGNORECASE)
# Delimiters of emphasis to try, in turns at each depth: those of the source first.
_DELIMITERS = ("", "*_", "_*", "*")


def read_markdown(source: str, most: int = MAX_PIECES) -> Document:
    """Splits Markdown into markup and texts.

    Raises:
        MarkupTooComplex: it is too long, has more pieces of markup than `most`, or has too much markup in markup.
    """
    if len(source) > MAX_CHARACTERS:
        raise MarkupTooComplex(f"has {len(source)} characters; Markdown may have {MAX_CHARACTERS}, send it in parts")
    line_end = "\r\n" if "\r\n" in source else "\n"
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    # A byte order mark would hide the markup after it.
    start = int(source.startswith("\ufeff"))
    matter = _FRONT_MATTER.match(source, start)
    start = matter.end() if matter else start
    first_line = source.count("\n", 0, start) + 1
    lines = source[start:].split("\n")
    references: dict[str, Any] = {}
    tokens = parse(source[start:], references)
    _check_size(tokens, first_line)
    definitions = {each["map"][0]: each["map"][1] for each in references.values()}
    pieces = len(tokens) + sum(len(token.children or ()) for token in tokens)
    check_pieces(pieces, most)
    document = Document(pieces=pieces)
    kept, position = source[:start], 0
    plain: list[str] = []
    for blocks in _groups(tokens, lines):
        places = [token.map for token in blocks if token.map]
        begin, _ = places[0]
        end = max(end for _, end in places)
        while end > begin + 1 and not lines[end - 1].strip(" \t"):
            end -= 1
        contents = [_Content(token) for token in blocks if token.type == "inline"]
        plain += [content.plain for content in contents]
        if not any(content.passages for content in contents):
            continue
        kept += "".join(line + "\n" for line in _unindented(lines, position, begin, definitions))
        own = [_definition(lines[line : definitions[line]]) for line in range(begin, end) if line in definitions]
        section = _Blocks(kept, "\n".join(lines[begin:end]), line_end, blocks, contents, references, own)
        passages = [passage for content in contents for passage in content.passages]
        document.sections.append(Section(passages, section.write))
        kept, position = "\n" if end < len(lines) else "", end
    document.after = (kept + "\n".join(_unindented(lines, position, len(lines), definitions))).replace("\n", line_end)
    document.plain = "\n".join(filter(None, plain))
    return document


class _Content:
    """The inline tokens of a block, and the passages in them."""

    def __init__(self, token: Token) -> None:
        self.token = token
        parts = list(_parts(token.children or []))
        self.original = [token for part in parts for token in part.markup]
        self._pieces = list(find_passages(parts, _text_token))
        self.passages = [piece for piece in self._pieces if isinstance(piece, Passage)]

    @property
    def plain(self) -> str:
        texts = []
        for token in self.token.children or []:
            if token.type in ("text", "code_inline"):
                texts.append(token.content)
            elif token.type == "softbreak":
                texts.append(" ")
            elif token.type == "hardbreak" or token.content.startswith("<br"):
                texts.append("\n")
        return "".join(texts).strip()

    def fill(self, translations: Sequence[TextOutput], references: dict[str, Any]) -> list[Token] | None:
        """Returns inline tokens with translations, None if they cannot be written with the structure of the source."""
        remaining = iter(translations)
        tokens: list[Token] = []
        for piece in self._pieces:
            if isinstance(piece, Token):
                tokens.append(piece)
                continue
            translation = next(remaining)
            if not translation.text.strip():
                return None
            tokens += piece.fill(translation)
        structure = inline_structure(self.token.children or [])
        for delimiters in _DELIMITERS:
            attempt = list(_with_delimiters(tokens, delimiters))
            paragraph = [Token("paragraph_open", "p", 1), _inline_token(attempt), Token("paragraph_close", "p", -1)]
            written = parse(write_tokens(paragraph, references), ChainMap({}, references))
            is_paragraph = len(written) == 3 and written[0].type == "paragraph_open"
            if is_paragraph and inline_structure(written[1].children or []) == structure:
                return attempt
        return None


@dataclass
class _Blocks:
    """A section: the markup before it, and a block or several that are written at once.

    `references` are the link reference definitions of the document; `definitions`, the source of those in the blocks.
    """

    before: str
    source: str
    line_end: str
    tokens: list[Token]
    contents: list[_Content]
    references: dict[str, Any]
    definitions: list[str]

    def write(self, translations: Sequence[TextOutput]) -> Written:
        remaining = iter(translations)
        filled: dict[int, Token] = {}
        untranslated: list[str] = []
        for content in self.contents:
            own = [next(remaining) for _ in content.passages]
            children = content.fill(own, self.references) if own else content.original
            if children is None:
                untranslated += [passage.text for passage in content.passages]
            filled[id(content.token)] = _inline_token(content.original if children is None else children)
        tokens = [filled.get(id(token), token) for token in self.tokens]
        text = "\n\n".join([write_tokens(tokens, self.references), *self.definitions])
        written = parse(text, ChainMap({}, self.references))
        if block_structure(written) != block_structure(self.tokens):
            text = self.source
            untranslated = [passage.text for content in self.contents for passage in content.passages]
        return Written((self.before + text).replace("\n", self.line_end), tuple(untranslated))


def _check_size(tokens: Iterable[Token], first_line: int) -> None:
    """Checks that there is not too much markup, nor too much markup in markup."""
    line, contents = first_line, 0
    for token in tokens:
        line = first_line + token.map[0] if token.map else line
        contents += token.type == "inline"
        if contents > MAX_CONTENTS:
            raise MarkupTooComplex(f"has more than {MAX_CONTENTS} paragraphs, headings and cells; send it in parts")
        deepest = max((child.level for child in token.children or ()), default=token.level)
        if deepest + (token.nesting > 0) >= MAX_NESTING:
            raise MarkupTooComplex(f"markup is nested more than {MAX_NESTING} deep at line {line}")


def _groups(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[list[Token]]:
    """Yields the outermost blocks. What is indented after a list is with it: in the list as written, it may belong."""
    group: list[Token] = []
    for token in tokens:
        is_begin = token.level == 0 and token.nesting >= 0
        after_list = group and group[0].type.endswith("list_open")
        if is_begin and group and not (after_list and token.map and lines[token.map[0]].startswith((" ", "\t"))):
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _unindented(lines: Sequence[str], start: int, end: int, definitions: Container[int]) -> list[str]:
    """Returns lines in which definitions are not indented, so that they do not belong to a list before them."""
    return [lines[index].lstrip(" ") if index in definitions else lines[index] for index in range(start, end)]


def _definition(lines: Sequence[str]) -> str:
    """Returns a link reference definition without the marks of the blocks that it is in."""
    first, *others = lines
    return "\n".join([first[first.index("[") :], *(line.lstrip(" \t>") for line in others)])


def _with_delimiters(tokens: Iterable[Token], delimiters: str) -> Iterator[Token]:
    """Yields tokens with these delimiters of emphasis, in turns at each depth; none change nothing."""
    depth = 0
    for token in tokens:
        if delimiters and token.tag in ("em", "strong"):
            depth -= token.nesting < 0
            yield token.copy(markup=delimiters[depth % len(delimiters)] * len(token.markup))
            depth += token.nesting > 0
        else:
            yield token


def _text_token(text: str) -> Token:
    return Token("text", "", 0, content=_on_one_line(text))


def _on_one_line(text: str) -> str:
    """Returns a text with one space for its line breaks in a row, and for the white space around them."""
    first, *others = text.replace("\r", "\n").split("\n")
    if not others:
        return text
    *middle, last = others
    lines = [first.rstrip(), *filter(None, map(str.strip, middle)), last.lstrip()]
    return " ".join(lines)


def _markup_token(source: str) -> Token:
    """Returns a token that is written as it is."""
    return Token("html_inline", "", 0, content=source)


def _inline_token(children: list[Token]) -> Token:
    return Token("inline", "", 0, children=children)


def _parts(tokens: Sequence[Token]) -> Iterator[InlinePart[Token]]:
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if token.type == "text":
            yield from _text_parts(token.content, is_first=index == 1)
        elif token.type == "softbreak":
            yield InlinePart([token], kind="line")
        elif token.type == "hardbreak":
            yield InlinePart([token], kind="break")
        elif token.info == "auto" and token.nesting > 0:
            index += 2
            yield InlinePart(tokens[index - 3 : index], kind="atom")
        elif token.type == "html_inline":
            last, kind, tag = _inline_html(tokens, index - 1)
            yield InlinePart(tokens[index - 1 : last + 1], kind=kind, tag=tag)
            index = last + 1
        elif token.nesting:
            yield InlinePart([token], kind="start" if token.nesting > 0 else "end", tag=token.tag)
        else:
            yield InlinePart([token], kind="atom")


def _text_parts(text: str, *, is_first: bool) -> Iterator[InlinePart[Token]]:
    """Yields a text without what GitHub reads in texts: boxes of tasks, kinds of alerts, footnotes."""
    position = 0
    if is_first and (mark := _BOX_OR_ALERT.match(text)):
        position = mark.end()
        yield InlinePart([_markup_token(mark[0])], kind="separator")
    for footnote in _FOOTNOTE.finditer(text, position):
        is_definition = is_first and footnote.start() == 0 and text.startswith(":", footnote.end())
        end = footnote.end() + is_definition
        if position < footnote.start():
            yield InlinePart([_text_token(text[position : footnote.start()])], text[position : footnote.start()])
        yield InlinePart([_markup_token(text[footnote.start() : end])], kind="separator" if is_definition else "atom")
        position = end
    if position < len(text):
        yield InlinePart([_text_token(text[position:])], text[position:])


def _inline_html(tokens: Sequence[Token], index: int) -> tuple[int, Kind, str]:
    """Returns the last token of inline HTML, what it is to its sentence, and its tag."""
    source = tokens[index].content
    found = _TAG.match(source)
    if found is None:
        return index, "mark", ""
    tag = found[2].lower()
    if tag in VOID:
        kinds: dict[str, Kind] = {"br": "break", "wbr": "mark", **dict.fromkeys(ATOMIC - {"wbr"}, "atom")}
        return index, kinds.get(tag, "separator"), ""
    is_kept = tag in CODE or (tag in INLINE and _NOT_TRANSLATED.search(source) is not None)
    if is_kept and not found[1]:
        for last in range(index + 1, min(index + MAX_ATOM_TOKENS, len(tokens))):
            if tokens[last].content.lower().startswith(f"</{tag}"):
                return last, "atom", ""
    if tag not in INLINE or is_kept or source.endswith("/>"):
        return index, "separator", ""
    return index, "end" if found[1] else "start", f"<{tag}>"
