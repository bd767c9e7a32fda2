"""Parses `application/x-www-form-urlencoded` bodies, which LibreTranslate's clients send.

A large value is decoded in pieces, so that other requests run in between.
"""

import asyncio
import re

from fastapi import Request

from slimseq.app.errors import InvalidRequest, MalformedBody

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 100
# To decode so many bytes takes 2 ms at most.
PIECE_BYTES = 16 * 1024
# `urllib.parse.unquote_to_bytes` takes seconds for millions of percent signs that begin no escape.
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BYTES = {b"%02X" % value: bytes([value]) for value in range(256)}


def is_form(request: Request) -> bool:
    """Whether the body of a request is a form."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower() == FORM


async def parse_form(body: bytes) -> dict[str, str]:
    """Returns the fields of a form by name.

    Raises:
        InvalidRequest: there are too many fields, or a field is given more than once.
        MalformedBody: a name or a value is not UTF-8.
    """
    if body.count(b"&") >= MAX_FIELDS:
        raise InvalidRequest(f"the form has more than {MAX_FIELDS} fields")
    fields: dict[str, str] = {}
    for pair in filter(None, body.split(b"&")):
        encoded_name, _, encoded_value = pair.partition(b"=")
        name = await _decoded(encoded_name)
        if name in fields:
            raise InvalidRequest(f"{name[:64]}: is given more than once; send several texts as a JSON list")
        fields[name] = await _decoded(encoded_value)
    return fields


def _byte(escape: re.Match[bytes]) -> bytes:
    return _BYTES[escape[1].upper()]


async def _decoded(encoded: bytes) -> str:
    pieces = []
    start = 0
    while start < len(encoded):
        if start:
            await asyncio.sleep(0)
        end = start + PIECE_BYTES
        if end < len(encoded):
            # An escape such as %C3 must not be cut.
            cut = encoded.rfind(b"%", end - 2, end)
            end = cut if cut >= 0 else end
        pieces.append(_ESCAPE.sub(_byte, encoded[start:end].replace(b"+", b" ")))
        start = end
    try:
        return b"".join(pieces).decode()
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the form is not UTF-8: {error.reason} at byte {error.start} of a field") from error
