"""Markdown for translation: the contents of its blocks, and the same Markdown with other contents in their place.

Blocks without words stay byte for byte, as do front matter, link reference definitions and empty lines. A block with
words is written anew from its tokens: its structure stays, and the spelling of its markup is normalized. The result is
parsed again, and compared with the structure of the source. If the structure changed, other delimiters of emphasis are
tried. If none keeps it, the block stays untranslated. `markdown_syntax` parses, writes and compares.
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
from slimseq.inference.text.spans import Range

# Limits of a document. A document at these limits that is nothing but markup takes about ten seconds of CPU time.
MAX_CHARACTERS, MAX_CONTENTS = 100_000, 10_000
# Limit of tokens in an inline HTML element that is not translated. The end tag is looked for among so many.
MAX_ATOM_TOKENS = 64
# Metadata at the start of a document, in YAML (`---`) or TOML (`+++`).
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n(?=[\w\"'-]+[ \t]*[:=])(?:.*\n)*?(?:\1|\.\.\.)[ \t]*(?:\n|$)")
# The box of a task, or the kind of an alert, which GitHub reads.
_BOX_OR_ALERT = re.compile(r"\[[ xX]\](?=\s)|\[!\w+\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]++\]")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)")
_NOT_TRANSLATED = re.compile(r"\stranslate\s*=\s*[\"']?no\b", re.IGNORECASE)
# Delimiters of emphasis to try. "" means the delimiters of the source. The two characters of an entry are for even and
# odd depths of nested emphasis, since `**` beside `*` may be read in another way.
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
    start = _end_of_front_matter(source)
    lines = source[start:].split("\n")
    references: dict[str, Any] = {}
    tokens = parse(source[start:], references)
    _check_size(tokens, first_line=source.count("\n", 0, start) + 1)
    pieces = len(tokens) + sum(len(token.children or ()) for token in tokens)
    check_pieces(pieces, most)

    # By the first line of each link reference definition, the line after its last one.
    definitions = {each["map"][0]: each["map"][1] for each in references.values()}
    document = Document(pieces=pieces)
    plain: list[str] = []
    # The markup since the last section, and the line after that section.
    kept, position = source[:start], 0
    for blocks in _groups(tokens, lines):
        contents = [_Content(token) for token in blocks if token.type == "inline"]
        plain += [content.plain for content in contents]
        passages = [passage for content in contents for passage in content.passages]
        if not passages:
            continue
        begin, end = _lines_of(blocks, lines)
        kept += "".join(line + "\n" for line in _unindented(lines, position, begin, definitions))
        section = _Blocks(
            before=kept,
            source="\n".join(lines[begin:end]),
            line_end=line_end,
            tokens=blocks,
            contents=contents,
            references=references,
            definitions=[
                _definition(lines[line : definitions[line]]) for line in range(begin, end) if line in definitions
            ],
        )
        document.sections.append(Section(passages, section.write))
        kept = "\n" if end < len(lines) else ""
        position = end
    kept += "\n".join(_unindented(lines, position, len(lines), definitions))
    document.after = kept.replace("\n", line_end)
    document.plain = "\n".join(filter(None, plain))
    return document


def _end_of_front_matter(source: str) -> int:
    """Returns where the Markdown begins: after a byte order mark, which would hide markup, and after front matter."""
    start = 1 if source.startswith("\ufeff") else 0
    front_matter = _FRONT_MATTER.match(source, start)
    return front_matter.end() if front_matter else start


def _lines_of(blocks: Sequence[Token], lines: Sequence[str]) -> Range:
    """Returns the first line of blocks, and the line after their last one that is not empty."""
    places = [token.map for token in blocks if token.map]
    begin, _ = places[0]
    end = max(end for _, end in places)
    while end > begin + 1 and not lines[end - 1].strip(" \t"):
        end -= 1
    return begin, end


class _Content:
    """The content of a block such as a paragraph: its inline tokens, and the passages in them."""

    def __init__(self, token: Token) -> None:
        self.token = token
        parts = list(_parts(token.children or []))
        self.original = [token for part in parts for token in part.markup]
        self._pieces = list(find_passages(parts, _text_token))
        self.passages = [piece for piece in self._pieces if isinstance(piece, Passage)]

    @property
    def plain(self) -> str:
        """The text without markup. A line break that readers see is one here too."""
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
        return self._with_same_structure(tokens, references)

    def _with_same_structure(self, tokens: Sequence[Token], references: dict[str, Any]) -> list[Token] | None:
        """Returns inline tokens with the first delimiters of emphasis that keep the structure, None if none does."""
        structure = inline_structure(self.token.children or [])
        for delimiters in _DELIMITERS:
            attempt = list(_with_delimiters(tokens, delimiters))
            paragraph = [Token("paragraph_open", "p", 1), _inline_token(attempt), Token("paragraph_close", "p", -1)]
            written = parse(write_tokens(paragraph, references), ChainMap({}, references))
            # The tokens of a paragraph: its start, its content and its end. A translation may begin like a list.
            is_paragraph = len(written) == 3 and written[0].type == "paragraph_open"
            if is_paragraph and inline_structure(written[1].children or []) == structure:
                return attempt
        return None


@dataclass
class _Blocks:
    """A section: the markup before it, and a block or several that are written at once.

    `references` are the link reference definitions of the whole document, as the parser knows them. `definitions` has
    the source of the definitions that are within the blocks.
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
        if token.type == "inline":
            contents += 1
        if contents > MAX_CONTENTS:
            raise MarkupTooComplex(f"has more than {MAX_CONTENTS} paragraphs, headings and cells; send it in parts")
        deepest = max((child.level for child in token.children or ()), default=token.level)
        if token.nesting > 0:
            # What the token opens is one level deeper.
            deepest += 1
        if deepest >= MAX_NESTING:
            raise MarkupTooComplex(f"markup is nested more than {MAX_NESTING} deep at line {line}")


def _groups(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[list[Token]]:
    """Yields the tokens of each outermost block.

    An indented block after a list is in the group of the list: the list is written with other indentation, with which
    the block may become a part of it.
    """
    group: list[Token] = []
    for token in tokens:
        is_new_block = token.level == 0 and token.nesting >= 0
        if group and is_new_block:
            is_after_list = group[0].type.endswith("list_open")
            is_indented = token.map is not None and lines[token.map[0]].startswith((" ", "\t"))
            if not (is_after_list and is_indented):
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
    """Yields tokens with other delimiters of emphasis, see `_DELIMITERS`."""
    if not delimiters:
        yield from tokens
        return
    depth = 0
    for token in tokens:
        if token.tag not in ("em", "strong"):
            yield token
            continue
        is_opening = token.nesting > 0
        if not is_opening:
            depth -= 1
        yield token.copy(markup=delimiters[depth % len(delimiters)] * len(token.markup))
        if is_opening:
            depth += 1


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
    """Yields the parts of inline tokens, each of which has one token or several."""
    index = 0
    while index < len(tokens):
        token = tokens[index]
        following = index + 1
        if token.type == "text":
            yield from _text_parts(token.content, is_first=index == 0)
        elif token.type == "softbreak":
            yield InlinePart([token], kind="line")
        elif token.type == "hardbreak":
            yield InlinePart([token], kind="break")
        elif token.info == "auto" and token.nesting > 0:
            # An autolink such as <https://a.org> has three tokens: its start, its text and its end.
            following = index + 3
            yield InlinePart(tokens[index:following], kind="atom")
        elif token.type == "html_inline":
            last, kind, tag = _inline_html(tokens, index)
            following = last + 1
            yield InlinePart(tokens[index:following], kind=kind, tag=tag)
        elif token.nesting:
            yield InlinePart([token], kind="start" if token.nesting > 0 else "end", tag=token.tag)
        else:
            yield InlinePart([token], kind="atom")
        index = following


def _text_parts(text: str, *, is_first: bool) -> Iterator[InlinePart[Token]]:
    """Yields the parts of a text. What GitHub reads in texts is markup: boxes of tasks, kinds of alerts, footnotes."""
    position = 0
    mark = _BOX_OR_ALERT.match(text) if is_first else None
    if mark is not None:
        position = mark.end()
        yield InlinePart([_markup_token(mark[0])], kind="separator")
    for footnote in _FOOTNOTE.finditer(text, position):
        is_definition = is_first and footnote.start() == 0 and text.startswith(":", footnote.end())
        # The colon belongs to a definition.
        end = footnote.end() + 1 if is_definition else footnote.end()
        if position < footnote.start():
            yield InlinePart([_text_token(text[position : footnote.start()])], text[position : footnote.start()])
        yield InlinePart([_markup_token(text[footnote.start() : end])], kind="separator" if is_definition else "atom")
        position = end
    if position < len(text):
        yield InlinePart([_text_token(text[position:])], text[position:])


def _inline_html(tokens: Sequence[Token], index: int) -> tuple[int, Kind, str]:
    """Returns the last token of inline HTML, what the HTML is to its sentence, and its tag.

    An element that is not translated has several tokens, up to its end tag. All other inline HTML is one token.
    """
    source = tokens[index].content
    found = _TAG.match(source)
    if found is None:
        return index, "mark", ""
    is_end_tag, tag = bool(found[1]), found[2].lower()
    if tag in VOID:
        kinds: dict[str, Kind] = {"br": "break", "wbr": "mark", **dict.fromkeys(ATOMIC - {"wbr"}, "atom")}
        return index, kinds.get(tag, "separator"), ""
    is_kept = tag in CODE or (tag in INLINE and _NOT_TRANSLATED.search(source) is not None)
    if is_kept and not is_end_tag:
        for last in range(index + 1, min(index + MAX_ATOM_TOKENS, len(tokens))):
            if tokens[last].content.lower().startswith(f"</{tag}"):
                return last, "atom", ""
    if tag not in INLINE or is_kept or source.endswith("/>"):
        return index, "separator", ""
    return index, "end" if is_end_tag else "start", f"<{tag}>"
