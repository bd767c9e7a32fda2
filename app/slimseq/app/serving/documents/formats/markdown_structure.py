"""What must be the same in Markdown before and after translation: emphasis, links, images, code, HTML, line breaks."""

from collections.abc import Iterable

from markdown_it.token import Token

from slimseq.app.serving.documents.formats.markdown_source import BlockKind, parser

# A token, what it refers to or holds, and the tokens that it is in.
Inline = tuple[str, str, tuple[str, ...]]
_SAID = frozenset({"text", "text_special", "softbreak"})
# What is before and after the content of a block, so that it is one.
_AROUND: dict[BlockKind, tuple[str, str]] = {
    "paragraph": ("", ""),
    "heading": ("# ", ""),
    "underlined": ("", "\n---"),
    "cell": ("", ""),
}


def inline_structure(tokens: Iterable[Token]) -> list[Inline]:
    """Returns what a content consists of besides its texts, in no particular order of the source: words move."""
    found: list[Inline] = []
    opened: list[str] = []
    is_autolink = False
    for token in tokens:
        if token.type in _SAID and not is_autolink:
            continue
        is_autolink = token.info == "auto" and token.nesting == 1
        if token.nesting < 0:
            opened.pop()
            continue
        held = token.content if token.type in ("code_inline", "html_inline", "image") else ""
        name = f"{token.type} {sorted(token.attrs.items())}"
        if token.type != "text":
            found.append((name, held, tuple(opened)))
        if token.nesting > 0:
            opened.append(name)
    return sorted(found)


def is_one_block(kind: BlockKind, text: str) -> bool:
    """Whether a text is the whole content of one block of this kind."""
    if kind == "cell":
        return "\n" not in text and text == text.strip()
    before, after = _AROUND[kind]
    tokens = parser().block.parse(before + text + after, parser(), {}, []) or []
    wanted = "paragraph_open" if kind == "paragraph" else "heading_open"
    return len(tokens) == 3 and tokens[0].type == wanted and tokens[1].content == text
