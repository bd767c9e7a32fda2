"""Parses, writes and compares Markdown: CommonMark, GFM tables and strikethrough.

markdown-it-py parses, and mdformat writes its tokens. Where mdformat would change what an author chose, such as
bullets, or does not know a syntax, such as tables, the functions here write in its place.
"""

import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdformat.renderer import DEFAULT_RENDERERS, MDRenderer, RenderContext, RenderTreeNode

# Levels of markup in markup, where a list and its item are one each. The parser ignores what is deeper. The time of
# quotes in quotes and of brackets in brackets grows with it.
MAX_NESTING = 20
# Characters of a text that need a backslash. Within a word, `_` needs none. `<` and `&` need one only before what looks
# like a tag or a reference.
_TO_ESCAPE = re.compile(r"[\\`*\[\]~]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#|[A-Za-z][A-Za-z0-9]*;)")
# By the style of a table's cell, what is below its column's heading.
_DELIMITER_CELLS = {"": "---", "text-align:left": ":--", "text-align:right": "--:", "text-align:center": ":-:"}


@cache
def _parser() -> MarkdownIt:
    """Returns the parser, which has no state between texts."""
    options = {"maxNesting": MAX_NESTING, "strikethrough_single_tilde": True, "store_labels": True}
    markdown = MarkdownIt("commonmark", options, renderer_cls=MDRenderer)  # type: ignore[arg-type]
    markdown.enable(["table", "strikethrough"])
    markdown.options["parser_extension"] = [_Extension]
    return markdown


def parse(text: str, references: MutableMapping[str, Any]) -> list[Token]:
    """Returns the tokens of Markdown. Link reference definitions of the text are added to `references`."""
    tokens = _parser().parse(text, {"references": references})
    for child in (child for token in tokens for child in token.children or ()):
        if child.type == "image":
            # mdformat would leave the code out of an alternative text, so all of it is made a text.
            child.children = [Token("text", "", 0, content=child.content)]
    return tokens


def write_tokens(tokens: Sequence[Token], references: Mapping[str, Any]) -> str:
    return MDRenderer().render(tokens, _parser().options, {"references": references}, finalize=False)


def block_structure(tokens: Iterable[Token]) -> list[object]:
    """Returns what blocks consist of besides their words. It is the same after translation."""
    found: list[object] = []
    for token in tokens:
        if token.type == "inline":
            found.append(inline_structure(token.children or []))
            continue
        # mdformat writes indented code as a fence.
        kind = token.type.replace("code_block", "fence")
        found.append((kind, token.tag, token.info.strip(), token.attrs, token.hidden, token.content.strip()))
    return found


def inline_structure(tokens: Iterable[Token]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Returns the markup of a sentence: what each is with its attributes, what it holds, and the markup around it.

    It is sorted, since a translation may have its words, and the markup with them, in another order.
    """
    found: list[tuple[str, str, tuple[str, ...]]] = []
    opened: list[str] = []
    is_autolink = False
    for token in tokens:
        if token.type in ("text", "softbreak") and not is_autolink:
            continue
        is_autolink = token.info == "auto" and token.nesting > 0
        if token.nesting < 0:
            opened.pop()
            continue
        # Line breaks within code, alternative texts and titles are spaces.
        name = " ".join(f"{token.type} {sorted(token.attrs.items())}".replace("\\n", " ").split())
        found.append((name, " ".join(token.content.split()), tuple(opened)))
        if token.nesting > 0:
            opened.append(name)
    return sorted(found)


def _write_text(node: RenderTreeNode, context: RenderContext) -> str:
    """Writes plain text with as few backslashes as possible."""
    text = _TO_ESCAPE.sub(r"\\\g<0>", node.content).replace("\n", "&#10;")
    is_last = node.parent is None or node.parent.children[-1] is node
    if text.endswith("!") and not is_last:
        # A link after an exclamation mark would be an image.
        return text[:-1] + "\\!"
    return text


def _write_heading(node: RenderTreeNode, context: RenderContext) -> str:
    if node.markup not in ("=", "-"):
        return DEFAULT_RENDERERS["heading"](node, context)
    # An underlined heading may have several lines, as a paragraph has.
    return DEFAULT_RENDERERS["paragraph"](node, context) + "\n" + node.markup * 3


def _write_strikethrough(node: RenderTreeNode, context: RenderContext) -> str:
    return node.markup + _write_children(node, context) + node.markup


def _write_list(node: RenderTreeNode, context: RenderContext) -> str:
    """Writes a list with the author's bullets and numbers."""
    is_tight = all(block.hidden for item in node.children for block in item.children if block.type == "paragraph")
    separator = "\n" if is_tight else "\n\n"
    items = []
    for item in node.children:
        marker = f"{item.info}{item.markup} "
        with context.indented(len(marker)):
            text = _write_children(item, context, separator)
        items.append((marker + text.replace("\n", "\n" + " " * len(marker))).rstrip())
    # Lines that have only indentation are empty.
    return re.sub(r"\n[ \t]+(?=\n)", "\n", separator.join(items))


def _write_table(node: RenderTreeNode, context: RenderContext) -> str:
    rows = [row.children for part in node.children for row in part.children]
    lines = [[_write_children(cell, context).replace("|", "\\|") for cell in row] for row in rows]
    lines.insert(1, [_DELIMITER_CELLS[str(cell.attrs.get("style", ""))] for cell in rows[0]])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write_children(node: RenderTreeNode, context: RenderContext, separator: str = "") -> str:
    return separator.join(filter(None, (child.render(context) for child in node.children)))


class _Extension:
    """What mdformat calls for tokens by type."""

    RENDERERS: Mapping[str, Callable[[RenderTreeNode, RenderContext], str]] = {
        "text": _write_text,
        "heading": _write_heading,
        # mdformat writes line breaks of headings as HTML.
        "hardbreak": lambda node, context: "\\\n",
        "s": _write_strikethrough,
        "bullet_list": _write_list,
        "ordered_list": _write_list,
        "table": _write_table,
        "hr": lambda node, context: node.markup,
    }
