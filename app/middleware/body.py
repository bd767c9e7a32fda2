"""Guards request bodies: at most so many bytes, declared as JSON, in UTF-8. Nothing larger is ever held."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTimeout, MalformedBody, PayloadTooLarge, UnsupportedMediaType

METHODS_WITH_BODY = ("POST", "PUT", "PATCH")


class BodyMiddleware:
    """Reads a body whole before the route sees it, and refuses what routes could not read."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float = 60) -> None:
        """Wraps the layers below.

        Args:
            app: the layers below.
            max_bytes: the largest body that is read.
            seconds: how long a client may take to send it.
        """
        self.app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request.

        Raises:
            PayloadTooLarge: the declared or the arrived length is above the limit.
            UnsupportedMediaType: the body is not declared as plain JSON.
            MalformedBody: the body is not UTF-8.
            BodyTimeout: the body did not arrive in time.
        """
        if scope["type"] != "http" or scope["method"] not in METHODS_WITH_BODY:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise PayloadTooLarge(self._max_bytes)
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            raise BodyTimeout(self._seconds) from None
        if body is None:
            return
        if body:
            check_media_type(headers)
            check_encoding(body)
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_body() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, receive_body, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Returns the body, or None when the client left before its end."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise PayloadTooLarge(self._max_bytes)
            if not message.get("more_body", False):
                return bytes(body)


def check_media_type(headers: Headers) -> None:
    """Checks what a body is declared to be.

    Raises:
        UnsupportedMediaType: it is not `application/json`, or is compressed.
    """
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(f"the body must be application/json, not {media_type or 'undeclared'}")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"the body must not be compressed, and is {headers['content-encoding']}")


def check_encoding(body: bytes) -> None:
    """Checks that a body is UTF-8.

    Raises:
        MalformedBody: it is not; says at which byte.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
