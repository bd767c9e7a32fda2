"""Calls one ASGI layer the way a server does, without a server."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message


class Connection:
    """One request: its body in chunks, then silence until `has_left` is set. It keeps the parts of the response."""

    def __init__(
        self, method: str = "POST", headers: Sequence[tuple[str, str]] = (), chunks: Sequence[bytes] = (b"",)
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": "/translate",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            "state": {},
        }
        self.chunks = list(chunks)
        self.sent: list[Message] = []
        self.has_left = asyncio.Event()

    async def receive(self) -> Message:
        if self.chunks:
            chunk = self.chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def call(self, layer: ASGIApp) -> None:
        async with asyncio.timeout(10):
            await layer(self.scope, self.receive, self.send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def json(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent))
