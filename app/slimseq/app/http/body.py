"""Reads request bodies within limits: bytes, JSON values, JSON depth and time.

Only UTF-8 JSON is accepted, and forms on the paths that take them. Reading ends with the first byte above a limit.
"""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.types import Receive

from slimseq.app.errors import BodyTimeout, Overloaded, PayloadTooLarge, UnsupportedMediaType
from slimseq.app.http.json_limits import PIECE_BYTES, JsonScanner, check_encoding, may_exceed

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
# Requests with a body of the maximum size that may be in progress together. Parsed, such a body takes about 20 MB.
MAX_LARGE_BODIES = 8
RETRY_SECONDS = 1


class BodyReader:
    """Reads bodies, and limits the bytes of all that are in progress together.

    Args:
        max_bytes: maximum size of a body.
        max_values: maximum number of values in a body, as `JsonScanner` counts them.
        seconds: maximum time to receive a body.
        media_types: those that a path takes, if it does not take JSON alone. Its route limits what forms hold.
    """

    def __init__(
        self,
        max_bytes: int,
        max_values: int,
        seconds: float = 60,
        media_types: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_values = max_values
        self._seconds = seconds
        self._media_types = media_types or {}
        self._bytes_in_progress = 0

    async def read(self, path: str, headers: Mapping[bytes, bytes], receive: Receive) -> list[bytes] | None:
        """Reads a body. Release it at the end of its request.

        Returns:
            JSON in one piece, a form in pieces that can each be parsed at once. None if the client disconnected.

        Raises:
            PayloadTooLarge: the declared or the received length is above the limit.
            UnsupportedMediaType: the body is not declared as plain JSON, or as a form where forms are taken.
            MalformedBody: the body is not UTF-8, or nested too deeply.
            BodyTooComplex: the body has too many values.
            BodyTimeout: the body did not arrive in time.
            Overloaded: the bodies of all requests in progress are too large together.
        """
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise PayloadTooLarge(self._max_bytes)
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                is_whole = await self._read(headers, receive, body, self._media_types.get(path, (JSON,)))
        except BaseException as error:
            self._bytes_in_progress -= len(body)
            if isinstance(error, TimeoutError):
                raise BodyTimeout(self._seconds) from None
            raise
        if not is_whole:
            self._bytes_in_progress -= len(body)
            return None
        if path not in self._media_types:
            return [bytes(body)]
        return [bytes(body[start : start + PIECE_BYTES]) for start in range(0, len(body) or 1, PIECE_BYTES)]

    def release(self, length: int) -> None:
        """Gives the bytes of a body back."""
        self._bytes_in_progress -= length

    async def _read(
        self, headers: Mapping[bytes, bytes], receive: Receive, body: bytearray, media_types: Sequence[str]
    ) -> bool:
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
            if self._bytes_in_progress + len(piece) > MAX_LARGE_BODIES * self._max_bytes:
                raise Overloaded("the bodies of the requests in progress are too large together", RETRY_SECONDS)
            self._bytes_in_progress += len(piece)
            body += piece
            if is_json and scanner is None and is_last and not may_exceed(piece, self._max_values):
                check_encoding(piece)
            elif is_json:
                scanner = scanner or JsonScanner(self._max_values)
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


def media_type_of(content_type: str) -> str:
    """Returns the media type of a header `Content-Type`, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def check_media_type(headers: Mapping[bytes, bytes], accepted: Sequence[str]) -> str:
    """Checks the declared media type and encoding.

    Returns:
        The media type.

    Raises:
        UnsupportedMediaType: it is none of those accepted, or the body is compressed.
    """
    media_type = media_type_of(headers.get(b"content-type", b"").decode("latin-1"))
    if media_type not in accepted:
        wanted = " or ".join(accepted)
        raise UnsupportedMediaType(f"the body must be {wanted}, not {media_type or 'undeclared'}")
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"the body must not be compressed, and is {encoding}")
    return media_type
