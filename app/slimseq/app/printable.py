"""Text that others chose, as it may be shown in a log or an error: nothing invisible in it, and not too long."""

import re

MAX_CHARACTERS = 1000
# Control characters (C0, DEL, C1), line and paragraph separators, what changes the direction of text
# (https://www.unicode.org/reports/tr9/), and halves of surrogate pairs, which UTF-8 cannot encode.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def printable(text: str, limit: int = MAX_CHARACTERS, *, has_lines: bool = False) -> str:
    r"""Returns a text with unsafe characters escaped as in Python (`\x1b`, `\u202e`), and its middle cut out.

    Args:
        text: any text.
        limit: maximum number of its characters that are kept.
        has_lines: whether line feeds stay.
    """
    if len(text) > limit:
        start = limit // 2
        text = f"{text[:start]} … {len(text) - limit} characters … {text[start - limit :]}"
    return (_UNSAFE_IN_LINES if has_lines else _UNSAFE).sub(lambda match: ascii(match.group())[1:-1], text)
