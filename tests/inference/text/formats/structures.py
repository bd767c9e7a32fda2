"""The structure of HTML and Markdown: everything but the words, as it must be the same after translation.

Blocks are compared in their order. Inline markup may move with its words within a sentence. So it is compared without
its order: what it is, and which elements it is in.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import turbohtml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from turbohtml import TokenType

INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "big", "br", "cite", "code", "del", "dfn", "em", "font", "i", "img", "input"),
        *("embed", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time"),
        *("tt", "u", "var", "wbr"),
    }
)
VOID = frozenset({"br", "img", "input", "embed", "wbr"})
# Elements whose text is not translated.
UNTOUCHED = frozenset({"code", "kbd", "samp", "var", "script", "style"})
_FRONT_MATTER = re.compile(r"---\n(?=\w+:)(?:.*\n)*?---\n")
# Tokens of words, which are not compared.
_WORDS = frozenset({"text", "softbreak"})

# The blocks in order, and how often each inline construct is at each place.
Structure = tuple[Sequence[Hashable], Counter[Hashable]]


def html_structure(html: str) -> Structure:
    """Returns the block tags in order, and how often each inline element is at each place."""
    tokenizer = turbohtml.Tokenizer(capture_source=True)
    blocks: list[Hashable] = []
    inline: Counter[Hashable] = Counter()
    # The open inline elements, each with its tag and source.
    opened: list[tuple[str, ...]] = []
    # How many open elements keep their text as it is.
    untouched = 0
    for token in [*tokenizer.feed(html), *tokenizer.close()]:
        tag = token.tag or ""
        place = len(blocks), *opened
        if token.type in (TokenType.TEXT, TokenType.CHARACTER_REFERENCE):
            if untouched:
                inline[token.data, place] += 1
        elif token.type is TokenType.COMMENT:
            inline[token.source, place] += 1
        elif tag not in INLINE:
            blocks.append(token.source)
            opened.clear()
            untouched = 1 if token.type is TokenType.START_TAG and tag in UNTOUCHED else 0
        elif token.type is TokenType.START_TAG:
            inline[token.source, place] += 1
            if tag not in VOID and not token.self_closing:
                opened.append((tag, token.source or ""))
                if tag in UNTOUCHED:
                    untouched += 1
        elif opened and opened[-1][0] == tag:
            opened.pop()
            if tag in UNTOUCHED:
                untouched -= 1
        else:
            inline[f"unopened {tag}", place] += 1
    return blocks, inline


def markdown_structure(markdown: str) -> Structure:
    """Returns the blocks in order, and how often each inline construct is at each place."""
    parser = MarkdownIt("commonmark", {"maxNesting": 100, "strikethrough_single_tilde": True})
    parser.enable(["table", "strikethrough"])
    matter = _FRONT_MATTER.match(markdown)
    blocks: list[Hashable] = [matter[0] if matter else ""]
    inline: Counter[Hashable] = Counter()
    environment: dict[str, Any] = {}
    body = markdown.removeprefix(matter[0]) if matter else markdown
    for token in parser.parse(body, environment):
        if token.type == "inline":
            _count(token.children or [], len(blocks), inline)
        else:
            # Indented code may be written with fences, and HTML in a list with another indentation.
            kind = token.type.replace("code_block", "fence")
            attributes = tuple(sorted(token.attrs.items()))
            blocks.append((kind, token.tag, token.info.strip(), token.hidden, attributes, token.content.strip()))
    references = environment.get("references", {})
    blocks.append(tuple((name, each["href"], each["title"]) for name, each in references.items()))
    return blocks, inline


def _count(tokens: Sequence[Token], block: int, inline: Counter[Hashable]) -> None:
    opened: list[str] = []
    for token in tokens:
        if token.type in _WORDS:
            continue
        if token.nesting < 0:
            opened.pop()
            continue
        held = token.content if token.type in ("code_inline", "html_inline", "image") else ""
        # Line breaks within code, alternative texts and titles are spaces.
        name = " ".join(f"{token.type} {sorted(token.attrs.items())} {held}".replace("\\n", " ").split())
        inline[block, name, *opened] += 1
        if token.nesting > 0:
            opened.append(name)
