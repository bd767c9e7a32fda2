"""Reads request bodies within limits: bytes, JSON values, JSON depth and time.

Only UTF-8 JSON is accepted, and forms on the paths that take them. Reading ends with the first byte above a limit.
Values and depth are counted while a body arrives, before a parser allocates objects.

`slimseq.app.http.middleware` reads each body with a `BodyReader`. Routes parse it; `JsonRoute` parses large bodies.
"""

import asyncio
import codecs
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.types import Receive

from slimseq.app.errors import (
    BodyTooComplex,
    MalformedBody,
    Overloaded,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
# Requests with a body of the maximum size that may be in progress together. Parsed, such a body takes about 20 MB.
MAX_LARGE_BODIES = 8
RETRY_SECONDS = 1
PIECE_BYTES = 64 * 1024  # A scan takes about 0.3 ms, so that the event loop is not blocked.
MAX_DEPTH = 16  # The deepest request of the API has 3 levels.
LARGE_BYTES = 256 * 1024  # Larger bodies are parsed by pydantic's parser.

_QUOTE = b'"'
_BACKSLASH = b"\\"
_STRUCTURE = b',:[{]}"'
# Bytes that `bytes.translate` deletes: all but the structural characters, and of these all but the brackets.
_NOT_STRUCTURE = bytes(set(range(256)) - set(_STRUCTURE))
_NOT_BRACKETS = b",:"
_OPENING = b"[{"


@dataclass(eq=False)
class BodyReader:
    """Reads bodies, and limits the bytes of all bodies that are in progress together.

    Attributes:
        max_bytes: bytes of a body.
        max_values: values of a JSON body, as `JsonScanner` counts them.
        seconds: time in which a body must arrive.
        media_types: by path, the media types of paths that take more than JSON. Their routes limit what forms hold.
    """

    max_bytes: int
    max_values: int
    seconds: float = 60
    media_types: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _bytes_in_progress: int = field(default=0, init=False)

    async def read(
        self, path: str, headers: Mapping[bytes, bytes], receive: Receive, *, has_arrived: bool = False
    ) -> list[bytes] | None:
        """Reads a body. The caller must `release` its bytes at the end of the request.

        `has_arrived` says that the whole body is there, so that nothing has to limit the time.

        Returns:
            The body in one piece. On the paths of `media_types`, where it may be a form, it is in several pieces, each
            small enough to be parsed without blocking the event loop for long. None if the client disconnected.

        Raises:
            PayloadTooLarge: the declared or the received length is above the limit.
            UnsupportedMediaType: the body is not declared as plain JSON, or as a form where forms are taken.
            MalformedBody: the body is not UTF-8, or nested too deeply.
            BodyTooComplex: the body has too many values.
            RequestTimeout: the body did not arrive in time.
            Overloaded: the bodies of all requests in progress are too large together.
        """
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self.max_bytes:
            raise PayloadTooLarge(self.max_bytes)
        # `_read` extends `body`. If `_read` fails, the length of `body` says how many bytes are no longer in progress.
        body = bytearray()
        media_types = self.media_types.get(path, (JSON,))
        try:
            if has_arrived:
                is_whole = await self._read(headers, receive, body, media_types)
            else:
                async with asyncio.timeout(self.seconds):
                    is_whole = await self._read(headers, receive, body, media_types)
        except BaseException as error:
            self._bytes_in_progress -= len(body)
            if isinstance(error, TimeoutError):
                raise RequestTimeout("the body", self.seconds) from None
            raise
        if not is_whole:
            self._bytes_in_progress -= len(body)
            return None
        if path not in self.media_types:
            return [bytes(body)]
        return [bytes(body[start : start + PIECE_BYTES]) for start in range(0, len(body) or 1, PIECE_BYTES)]

    def release(self, length: int) -> None:
        self._bytes_in_progress -= length

    async def _read(
        self, headers: Mapping[bytes, bytes], receive: Receive, body: bytearray, media_types: Sequence[str]
    ) -> bool:
        """Reads the body, and appends it to `body`. Returns False if the client disconnected before its end."""
        scanner: JsonScanner | None = None
        is_json = True
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            piece = message.get("body", b"")
            is_last = not message.get("more_body", False)
            if piece and not body:
                is_json = check_media_type(headers, media_types) == JSON
            if len(body) + len(piece) > self.max_bytes:
                raise PayloadTooLarge(self.max_bytes)
            if self._bytes_in_progress + len(piece) > MAX_LARGE_BODIES * self.max_bytes:
                raise Overloaded("the bodies of the requests in progress are too large together", RETRY_SECONDS)
            self._bytes_in_progress += len(piece)
            body += piece
            arrived_at_once = is_last and len(piece) == len(body)
            if is_json and not (arrived_at_once and self._is_harmless(piece)):
                scanner = scanner or JsonScanner(self.max_values)
                await scanner.scan(piece, is_last)
            if is_last:
                return True

    def _is_harmless(self, body: bytes) -> bool:
        """Whether a body is so short and plain that it needs no scan: it is within all limits, and ASCII."""
        # A body has no more values than bytes, and no more levels than opening brackets.
        is_short = len(body) <= min(self.max_values, PIECE_BYTES)
        opening_brackets = body.count(b"[") + body.count(b"{")
        return is_short and opening_brackets <= MAX_DEPTH and body.isascii()


def media_type_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def check_media_type(headers: Mapping[bytes, bytes], accepted: Sequence[str]) -> str:
    """Checks the declared media type, which it returns, and that the body is not compressed."""
    media_type = media_type_of(headers.get(b"content-type", b"").decode("latin-1"))
    if media_type not in accepted:
        wanted = " or ".join(accepted)
        raise UnsupportedMediaType(f"the body must be {wanted}, not {media_type or 'undeclared'}")
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"the body must not be compressed, and is {encoding}")
    return media_type


class JsonScanner:
    """Scans one body, with operations on whole bytes objects and no Python loop over characters.

    It limits the commas, colons and opening brackets outside of strings, which count as values. Invalid JSON may be
    counted wrongly after its first wrong character, where the parser stops anyway.
    """

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._bytes = 0
        self._values = 0
        self._depth = 0
        # Whether the next piece begins within a string.
        self._is_in_string = False
        # A backslash at the end of the last piece, which belongs to the next one.
        self._kept = b""

    async def scan(self, chunk: bytes, is_last: bool) -> None:
        """Scans a chunk of any size in pieces, so that other requests run in between. Raises as `feed`."""
        for start in range(0, len(chunk) or 1, PIECE_BYTES):
            if start:
                await asyncio.sleep(0)
            end = start + PIECE_BYTES
            self.feed(chunk[start:end], is_last and end >= len(chunk))

    def feed(self, piece: bytes, is_last: bool = False) -> None:
        """Scans the next bytes, at most `PIECE_BYTES`."""
        self._check_encoding(piece, is_last)
        self._check_structure(self._outside_of_strings(piece))

    def _check_encoding(self, piece: bytes, is_last: bool) -> None:
        # Bytes of a character that the last piece has begun.
        begun_bytes = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(piece, is_last)
        except UnicodeDecodeError as error:
            place = self._bytes - begun_bytes + error.start
            raise MalformedBody(f"the body is not UTF-8: {error.reason} at byte {place}") from error
        self._bytes += len(piece)

    def _outside_of_strings(self, piece: bytes) -> bytes:
        """Returns the structural characters of a piece that are outside of strings."""
        piece = self._kept + piece
        self._kept = b""
        if _BACKSLASH in piece:
            # A backslash at the end escapes the first character of the next piece, unless it is itself escaped.
            trailing_backslashes = len(piece) - len(piece.rstrip(_BACKSLASH))
            if trailing_backslashes % 2 == 1:
                piece = piece[:-1]
                self._kept = _BACKSLASH
            # Pairs of backslashes go first. Else the quote that ends a string after such a pair would look escaped.
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.translate(None, _NOT_STRUCTURE).split(_QUOTE)
        # Every other part is in a string. A piece may begin or end within one.
        first_outside = 1 if self._is_in_string else 0
        outside = b"".join(parts[first_outside::2])
        has_unpaired_quote = len(parts) % 2 == 0
        if has_unpaired_quote:
            self._is_in_string = not self._is_in_string
        return outside

    def _check_structure(self, structure: bytes) -> None:
        brackets = structure.translate(None, _NOT_BRACKETS)
        # The loop is bounded. Valid JSON has at most one opening and one closing bracket a value, so that more brackets
        # mean too many values. The count below finds these without a loop.
        for bracket in brackets[: 2 * self._max_values]:
            self._depth += 1 if bracket in _OPENING else -1
            if self._depth > MAX_DEPTH:
                raise MalformedBody(f"the body is nested too deeply: more than {MAX_DEPTH} levels")
        closing = brackets.count(b"]") + brackets.count(b"}")
        self._values += len(structure) - closing
        if self._values > self._max_values:
            raise BodyTooComplex(self._max_values)


class ParsedRequest(Request):
    """A request whose JSON body is already parsed."""

    def __init__(self, request: Request, body: bytes, parsed: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content = body
        self._parsed = parsed

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        return self._parsed


class JsonRoute(APIRoute):
    """A route that parses large JSON bodies with pydantic's parser, which is faster on escapes than the json module.

    Parsing blocks the event loop: a body of 8 MB with many escapes for 24 ms, with the json module for 57 ms. Small
    bodies are parsed by FastAPI with the json module, whose errors say more.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            # The route takes no body. What a client sends nevertheless is not parsed.
            return handle

        async def parse_and_handle(request: Request) -> Response:
            if media_type_of(request.headers.get("content-type", "")) != JSON:
                return await handle(request)
            body = await request.body()
            if len(body) <= LARGE_BYTES:
                return await handle(request)
            # Reading and parsing take long. Other requests run before and after.
            await asyncio.sleep(0)
            parsed = parse_json(body)
            await asyncio.sleep(0)
            return await handle(ParsedRequest(request, body, parsed))

        return parse_and_handle


def parse_json(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError as error:
        raise MalformedBody(f"the body is not JSON: {error}") from error
