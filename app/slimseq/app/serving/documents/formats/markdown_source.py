"""The blocks of Markdown (CommonMark, GFM tables and strikethrough), with the places of their contents in the source.

markdown-it-py gives the lines of a block and the content without what its lines begin with, such as `> `. Thin layers
around its rules note the rest: where each line of a content starts, and where an inline construct ends.
"""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Literal

from markdown_it import MarkdownIt, rules_block, rules_inline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from slimseq.app.errors import MarkupTooComplex
from slimseq.app.serving.documents.formats.markdown_tables import CROWDED, MAX_BARS, cells_of, may_be_table

# Of blocks in blocks. markdown-it ignores what is deeper.
MAX_NESTING = 100
# Of brackets in brackets; deeper ones are text. The time of a run of brackets grows with it.
MAX_INLINE_NESTING = 20
# Of one content: signs that may be markup; of one block: lines. Each content and each block is parsed at once. So much
# takes less than half a second.
MAX_SIGNS = 10_000
MAX_LINES = 10_000
# Of one block, lines times the quotes in quotes that they are in: each quote goes through all lines.
MAX_QUOTED_LINES = 50_000
# What is before a line in quotes and lists.
_CONTAINER_MARKS = " \t>*+-.)0123456789"
# Lines that are counted at once: about a millisecond.
LINES_A_STEP = 5000
_SIGN = re.compile(r"[*_\[\]`<&~!\\]")
# Blocks at once, of a few milliseconds in all.
BLOCKS_A_STEP = 16
BlockKind = Literal["paragraph", "heading", "underlined", "cell"]
# Rules of blocks with a content, and the blocks that they may interrupt, as markdown-it registers them.
_BLOCK_RULES: list[tuple[str, Callable[..., bool], BlockKind, list[str]]] = [
    ("table", rules_block.table, "cell", ["paragraph", "reference"]),
    ("heading", rules_block.heading, "heading", ["paragraph", "reference", "blockquote"]),
    ("lheading", rules_block.lheading, "underlined", []),
    ("paragraph", rules_block.paragraph, "paragraph", []),
]
# The last token of these rules notes where the construct ends. Texts and emphasis have the length of their tokens.
_INLINE_RULES: list[tuple[str, Callable[[StateInline, bool], bool]]] = [
    ("newline", rules_inline.newline),
    ("escape", rules_inline.escape),
    ("backticks", rules_inline.backtick),
    ("link", rules_inline.link),
    ("image", rules_inline.image),
    ("autolink", rules_inline.autolink),
    ("html_inline", rules_inline.html_inline),
    ("entity", rules_inline.entity),
]


@dataclass(frozen=True)
class Piece:
    """An inline token and its place in the content of its block."""

    token: Token
    start: int
    end: int


@dataclass(frozen=True)
class Content:
    """The content of a paragraph, a heading or a cell of a table.

    Args:
        kind: of the block.
        text: the content as inline rules see it.
        start: where it begins in the source.
        end: where it ends there.
        gaps: for each line but the first, what is between it and the one before: in the source, and in `text`.
        pieces: its inline tokens, which add up to the text.
    """

    kind: BlockKind
    text: str
    start: int
    end: int
    gaps: Sequence[tuple[str, str]]
    pieces: Sequence[Piece]


@cache
def parser(max_nesting: int = MAX_NESTING) -> MarkdownIt:
    """Returns the parser, which has no state between texts."""
    markdown = MarkdownIt("commonmark", {"maxNesting": max_nesting, "strikethrough_single_tilde": True})
    markdown.enable(["table", "strikethrough"])
    for name, block, kind, interrupts in _BLOCK_RULES:
        markdown.block.ruler.at(name, _with_lines(block, kind), {"alt": interrupts})
    for name, inline in _INLINE_RULES:
        markdown.inline.ruler.at(name, _with_end(inline))
    return markdown


def blocks_of(source: str, environment: dict[str, Any], first_line: int = 1) -> Generator[None, None, list[Token]]:
    """Parses the blocks of Markdown, a few at a time. Inline tokens are not parsed yet.

    Args:
        source: with line feeds as line ends.
        environment: receives the link reference definitions.
        first_line: number of the source's first line, for errors.

    Raises:
        MarkupTooComplex: blocks are nested too deep, or one has too many lines, or a table too many bars.
    """
    environment[CROWDED] = first_line, (yield from _crowded_lines(source, first_line))
    markdown = parser()
    tokens: list[Token] = []
    state = StateBlock(source, markdown, environment, tokens)
    rules = markdown.block.ruler.getRules("")
    line, count, checked = 0, 0, 0
    # As `ParserBlock.tokenize` does for the outermost blocks.
    while (line := state.skipEmptyLines(line)) < state.lineMax:
        state.line = line
        any(rule(state, line, state.lineMax, False) for rule in rules)
        line = state.line
        for token in tokens[checked:]:
            if token.nesting == 1 and token.level + 1 >= MAX_NESTING:
                place = first_line + (token.map[0] if token.map else 0)
                raise MarkupTooComplex(f"blocks are nested more than {MAX_NESTING} deep at line {place}")
        checked = len(tokens)
        count += 1
        if count % BLOCKS_A_STEP == 0:
            yield
    return tokens


def contents_of(
    source: str, tokens: Sequence[Token], environment: dict[str, Any], first_line: int = 1
) -> Generator[None, None, list[Content]]:
    """Parses the contents of blocks, a few at a time. A content whose place is not found is left out.

    Raises:
        MarkupTooComplex: a content has too much markup.
    """
    found = []
    for token in tokens:
        if token.type != "inline" or not token.content:
            continue
        if len(token.content) > MAX_SIGNS and len(_SIGN.findall(token.content)) > MAX_SIGNS:
            place = first_line + (token.map[0] if token.map else 0)
            raise MarkupTooComplex(f"the text at line {place} has more than {MAX_SIGNS} signs of markup")
        content = _content(source, token, environment)
        if content is not None:
            found.append(content)
        if len(found) % BLOCKS_A_STEP == 0:
            yield
    return found


def _crowded_lines(source: str, first_line: int) -> Generator[None, None, list[range]]:
    """Returns the lines that are too much for a table, from one empty line to the next: they have too many bars.

    Raises:
        MarkupTooComplex: there are too many lines without an empty one, since each block is parsed at once.
    """
    found: list[range] = []
    start, bars, depth = 0, 0, 0
    for index, line in enumerate(chain(source.split("\n"), ("",))):
        # What is empty to markdown-it.
        if line.strip(" \t"):
            bars += line.count("|")
            if ">" in line:
                depth = max(depth, line.count(">", 0, len(line) - len(line.lstrip(_CONTAINER_MARKS))))
        else:
            if bars > MAX_BARS:
                found.append(range(start, index))
            start, bars, depth = index + 1, 0, 0
        if (index - start + 1) * depth > MAX_QUOTED_LINES:
            raise MarkupTooComplex(
                f"from line {first_line + start} on there are more than {index - start} lines without an empty one in "
                f"{depth} quotes, one in the other; add some"
            )
        if index - start >= MAX_LINES:
            raise MarkupTooComplex(
                f"from line {first_line + start} on there are more than {MAX_LINES} lines "
                "without an empty one; add some"
            )
        if (index + 1) % LINES_A_STEP == 0:
            yield
    return found


def inline_pieces(text: str, environment: dict[str, Any]) -> list[Piece] | None:
    """Parses the content of a block. Returns None where its tokens do not add up to it."""
    markdown = parser(MAX_INLINE_NESTING)
    pieces = []
    position = 0
    for token in markdown.inline.parse(text, markdown, environment, []):
        end = token.meta.get("end")
        if end is None:
            # An opening tag of a link is `[` or `<`. Emphasis has its own length. A text is as it is written.
            length = 1 if token.type == "link_open" else len(token.markup or token.content)
            end = position + length
        pieces.append(Piece(token, position, end))
        position = end
    return pieces if position == len(text) else None


def _content(source: str, token: Token, environment: dict[str, Any]) -> Content | None:
    kind, starts = token.meta.get("kind"), token.meta.get("starts", [])
    if kind is None:
        return None
    gaps: list[tuple[str, str]] = []
    if kind == "cell":
        start, end = starts
        if source[start:end].replace("\\|", "|") != token.content:
            return None
    else:
        placed = _placed_lines(source, token.content, starts)
        if placed is None:
            return None
        start, end, gaps = placed
    pieces = inline_pieces(token.content, environment)
    return None if pieces is None else Content(kind, token.content, start, end, gaps, pieces)


def _placed_lines(source: str, content: str, starts: Sequence[int]) -> tuple[int, int, list[tuple[str, str]]] | None:
    """Returns where a content starts and ends, and what is between its lines; None if a line is not there."""
    lines = content.split("\n")
    if len(lines) > len(starts):
        return None
    first = end = -1
    gaps = []
    for line, start in zip(lines, starts, strict=False):
        shown = line.lstrip(" \t")
        line_end = source.find("\n", start)
        place = source.find(shown, start, line_end if line_end >= 0 else len(source))
        if place < 0:
            return None
        if first < 0:
            first = place
        else:
            gaps.append((source[end:place], "\n" + line[: len(line) - len(shown)]))
        end = place + len(shown)
    return first, end, gaps


def _with_lines(rule: Callable[..., bool], kind: BlockKind) -> Callable[[StateBlock, int, int, bool], bool]:
    """Returns a block rule that notes in its inline tokens where the lines of their contents start."""

    def noted(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
        count = len(state.tokens)
        if kind == "cell" and not may_be_table(state, start_line, end_line):
            return False
        if not rule(state, start_line, end_line, silent):
            return False
        if silent:
            return True
        cells: Iterator[tuple[int, int]] = iter(())
        row = -1
        for token in state.tokens[count:]:
            if token.type != "inline" or token.map is None:
                continue
            token.meta["kind"] = kind
            if kind == "cell":
                if token.map[0] != row:
                    row = token.map[0]
                    cells = iter(cells_of(state.src, state.bMarks[row] + state.tShift[row], state.eMarks[row]))
                token.meta["starts"] = next(cells, (0, 0))
            else:
                lines = range(token.map[0], token.map[1])
                opening = len(state.tokens[-1].markup) if kind == "heading" else 0
                token.meta["starts"] = [state.bMarks[line] + state.tShift[line] + opening for line in lines]
        return True

    return noted


def _with_end(rule: Callable[[StateInline, bool], bool]) -> Callable[[StateInline, bool], bool]:
    """Returns an inline rule that notes in its last token where the construct ends."""

    def noted(state: StateInline, silent: bool) -> bool:
        count = len(state.tokens)
        if not rule(state, silent):
            return False
        if not silent and len(state.tokens) > count:
            state.tokens[-1].meta["end"] = state.pos
        return True

    return noted
