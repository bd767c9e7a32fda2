"""Asks one server over HTTP/1.1, with connections that are kept for the next request.

It is as small as a client can be, because it shares the machine with the server that it measures.
"""

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
CONTENT_LENGTH = b"content-length:"


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class BadAnswer(Exception):
    """Raised when a server answers with what is no answer, or with none."""


class Connections:
    """As many connections to one server as there are requests at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str) -> Answer:
        """Asks for a resource; errors are those of `post`."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    async def delete(self, path: str) -> Answer:
        """Deletes a resource; errors are those of `post`."""
        return await self._ask(f"DELETE {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    async def post(self, path: str, body: bytes) -> Answer:
        """Sends a JSON body.

        Raises:
            OSError: the server cannot be reached.
            BadAnswer: it ended the connection before its answer was whole.
        """
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        return await self._ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _ask(self, request: bytes) -> Answer:
        while self._idle:
            try:
                return await self._exchange(*self._idle.pop(), request)
            except (ConnectionError, _NeverAnswered):
                # Servers end connections that were idle for seconds; the request was not read then.
                continue
        try:
            return await self._exchange(*await asyncio.open_connection(HOST, self._port), request)
        except _NeverAnswered as error:
            raise BadAnswer("the server ended the connection without an answer") from error

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
        is_whole = False
        try:
            writer.write(request)
            head = await _read_head(reader)
            lines = head.split(b"\r\n")
            length = next((line for line in lines if line.lower().startswith(CONTENT_LENGTH)), None)
            if length is None:
                raise BadAnswer("the server's answer does not tell its length")
            try:
                body = await reader.readexactly(int(length[len(CONTENT_LENGTH) :]))
            except asyncio.IncompleteReadError as error:
                raise BadAnswer("the server ended the connection within its answer") from error
            is_whole = b"connection: close" not in head.lower()
            return Answer(int(lines[0].split(b" ")[1]), body)
        finally:
            if is_whole:
                self._idle.append((reader, writer))
            else:
                writer.close()


class _NeverAnswered(Exception):
    """Raised when a connection ends before the first byte of an answer."""


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadAnswer("the server ended the connection within its answer") from error
        raise _NeverAnswered from error
