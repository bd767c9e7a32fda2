"""Parses forms: `application/x-www-form-urlencoded` and `multipart/form-data`.

LibreTranslate's clients send either, and uploads are multipart. A large body is parsed in pieces, so that other
requests run in between. Nothing is written to a temporary folder, which a container may not have: the middleware that
reads bodies has bounded their size.
"""

import asyncio
import re
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from slimseq.app.errors import InvalidRequest, MalformedBody, UnsupportedMediaType

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MAX_FIELDS = 100
# To decode so many bytes takes 2 ms at most.
PIECE_BYTES = 16 * 1024
# To parse so many bytes takes about 1 ms.
MULTIPART_PIECE_BYTES = 64 * 1024
# `urllib.parse.unquote_to_bytes` takes seconds for millions of percent signs that begin no escape.
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BYTES = {b"%02X" % value: bytes([value]) for value in range(256)}


def is_form(request: Request) -> bool:
    """Whether the body of a request is a form."""
    return _media_type(request) in (FORM, MULTIPART)


async def form_fields(request: Request) -> dict[str, str]:
    """Returns the fields of a request's form by name.

    Raises:
        InvalidRequest: there are too many fields, or a field is given more than once.
        MalformedBody: the form cannot be parsed, holds a file, or is not UTF-8.
        UnsupportedMediaType: the body is JSON. `curl -d` declares a form if nothing else is said.
    """
    body = await request.body()
    if _media_type(request) == FORM:
        if body.lstrip().startswith(b"{"):
            raise UnsupportedMediaType("the body is JSON: send the header `content-type: application/json`")
        return await parse_form(body)
    try:
        # The parser would read other bytes as Latin-1.
        body.decode()
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the form is not UTF-8: {error.reason} at byte {error.start}") from error
    fields: dict[str, str] = {}
    for name, value in (await parse_multipart(request, body, max_files=0)).multi_items():
        _add(fields, name, str(value))
    return fields


async def parse_multipart(request: Request, body: bytes, max_files: int) -> FormData:
    """Returns the fields and the files of a multipart form.

    Raises:
        MalformedBody: it cannot be parsed, or has too many fields or files.
    """
    if not body:
        return FormData()
    parser = MultiPartParser(
        request.headers, _pieces(body), max_files=max_files, max_fields=MAX_FIELDS, max_part_size=len(body)
    )
    parser.spool_max_size = len(body) + 1
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise MalformedBody(f"the body is not a form that can be read: {error.message}") from error


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
        _add(fields, await _decoded(encoded_name), await _decoded(encoded_value))
    return fields


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def _add(fields: dict[str, str], name: str, value: str) -> None:
    if name in fields:
        raise InvalidRequest(f"{name[:64]}: is given more than once; send several texts as a JSON list")
    fields[name] = value


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), MULTIPART_PIECE_BYTES):
        await asyncio.sleep(0)
        yield body[start : start + MULTIPART_PIECE_BYTES]
    yield b""


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
