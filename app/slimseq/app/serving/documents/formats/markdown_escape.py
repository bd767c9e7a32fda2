"""Writes plain text in Markdown so that it makes no structure, with as few backslashes as possible."""

import re

# A line break in the content of a block, and the number of the line after it: see `gap_mark`.
GAP = re.compile("\n[\U000f0000-\U0010fffd]")
MAX_GAPS = 0x1FFFD
GAP_AT_END = re.compile(rf"{GAP.pattern}[ \t]*$")
_BREAKS = re.compile(r"\s*[\r\n]\s*")
# Within a word, `_` has no meaning. `<` and `&` have one only before what looks like a tag or a reference.
_MARKS = re.compile(r"[\\`*\[\]~]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#|[A-Za-z][A-Za-z0-9]*;)")
# Quotes, lists, headings, rules under headings, and rows under the head of a table.
_BLOCK_START = re.compile(r">|[-+](?:[ \t]|$)|#{1,6}(?:[ \t]|$)|[-=:|][-=:| \t]*$")
_NUMBER = re.compile(r"\d{1,9}(?=[.)](?:[ \t]|$))")
_HASHES_AT_END = re.compile(r"(?<=[ \t])#+$")


def gap_mark(index: int) -> str:
    """Returns a line break before a line of a content; line 0 is the second one."""
    return "\n" + chr(0xF0000 + index)


def escaped(before: str, text: str, after: str) -> str:
    """Returns a text that reads as itself within a line, or at the start of one if the markup before ends a line.

    Args:
        before: the markup before it.
        text: plain text.
        after: the markup after it.
    """
    written = _MARKS.sub(lambda match: f"\\{match[0]}", _BREAKS.sub(" ", text))
    if GAP_AT_END.search(before):
        written = at_line_start(written.lstrip())
    if written.endswith("!") and after.startswith("["):
        # Else it would be an image.
        written = written[:-1] + "\\!"
    return written


def at_line_start(text: str) -> str:
    """Returns a line that does not begin a block. `text` has been escaped within."""
    number = _NUMBER.match(text)
    if number:
        return f"{number[0]}\\{text[number.end() :]}"
    return f"\\{text}" if _BLOCK_START.match(text) else text


def without_hashes_at_end(text: str) -> str:
    """Returns the text of a heading, which does not end as headings may: with a space and `#`."""
    return _HASHES_AT_END.sub(lambda match: f"\\{match[0]}", text)
