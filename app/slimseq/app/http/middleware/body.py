"""Reads request bodies within limits: bytes, JSON values, JSON depth and time.

Only UTF-8 JSON is accepted, and forms on the paths that take them.
Reading ends with the first byte above a limit. The body is scanned as it arrives, and the route gets it as one piece.
"""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.errors import BodyTimeout, Overloaded, PayloadTooLarge, UnsupportedMediaType
from slimseq.app.http.middleware.json_limits import PIECE_BYTES, JsonScanner, check_encoding, may_exceed

JSON = "application/json"
METHODS_WITH_BODY = ("POST", "PUT", "PATCH")
# Requests with a body of the maximum size that may be in progress together. Parsed, such a body takes about 20 MB.
MAX_LARGE_BODIES = 8
RETRY_SECONDS = 1


class BodyMiddleware:
    """Reads the whole body before the route runs, and rejects bodies that routes could not read."""

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        max_values: int,
        seconds: float = 60,
        media_types: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Wraps an ASGI application.

        Args:
            app: the application.
            max_bytes: maximum size of a body.
            max_values: maximum number of values in a body, as `JsonScanner` counts them.
            seconds: maximum time to receive a body.
            media_types: those that a path takes, if it does not take JSON alone. Its route limits what forms hold.
        """
        self.app = app
        self._max_bytes = max_bytes
        self._max_values = max_values
        self._seconds = seconds
        self._media_types = media_types or {}
        self._max_bytes_in_progress = MAX_LARGE_BODIES * max_bytes
        self._bytes_in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request.

        Raises:
            PayloadTooLarge: the declared or the received length is above the limit.
            UnsupportedMediaType: the body is not declared as plain JSON, or as a form where forms are taken.
            MalformedBody: the body is not UTF-8, or nested too deeply.
            BodyTooComplex: the body has too many values.
            BodyTimeout: the body did not arrive in time.
            Overloaded: the bodies of all requests in progress are too large together.
        """
        if scope["type"] != "http" or scope["method"] not in METHODS_WITH_BODY:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise PayloadTooLarge(self._max_bytes)
        media_types = self._media_types.get(scope["path"], (JSON,))
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    is_whole = await self._read(headers, receive, body, media_types)
            except TimeoutError:
                raise BodyTimeout(self._seconds) from None
            if not is_whole:
                return
            waiting: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

            async def receive_body() -> Message:
                return waiting.pop() if waiting else await receive()

            await self.app(scope, receive_body, send)
        finally:
            self._bytes_in_progress -= len(body)

    async def _read(self, headers: Headers, receive: Receive, body: bytearray, media_types: Sequence[str]) -> bool:
        """Reads the body. Returns False if the client disconnected before its end."""
        scanner: JsonScanner | None = None
        is_json = True
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            piece, is_last = message.get("body", b""), not message.get("more_body", False)
            if piece and not body:
                is_json = check_media_type(headers, media_types) == JSON
            if len(body) + len(piece) > self._max_bytes:
                raise PayloadTooLarge(self._max_bytes)
            if self._bytes_in_progress + len(piece) > self._max_bytes_in_progress:
                raise Overloaded("the bodies of the requests in progress are too large together", RETRY_SECONDS)
            self._bytes_in_progress += len(piece)
            body += piece
            if not is_json:
                if is_last:
                    return True
                continue
            if scanner is None:
                if is_last and not may_exceed(piece, self._max_values):
                    check_encoding(piece)
                    return True
                scanner = JsonScanner(self._max_values)
            await _scan(scanner, piece, is_last)
            if is_last:
                return True


async def _scan(scanner: JsonScanner, chunk: bytes, is_last: bool) -> None:
    """Scans a chunk of any size in pieces, so that other requests run in between."""
    for start in range(0, len(chunk), PIECE_BYTES):
        if start:
            await asyncio.sleep(0)
        scanner.feed(chunk[start : start + PIECE_BYTES])
    if is_last:
        scanner.feed(b"", is_last)


def check_media_type(headers: Headers, accepted: Sequence[str] = (JSON,)) -> str:
    """Checks the declared media type and encoding.

    Returns:
        The media type.

    Raises:
        UnsupportedMediaType: it is none of those accepted, or the body is compressed.
    """
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in accepted:
        wanted = " or ".join(accepted)
        raise UnsupportedMediaType(f"the body must be {wanted}, not {media_type or 'undeclared'}")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"the body must not be compressed, and is {headers['content-encoding']}")
    return media_type
