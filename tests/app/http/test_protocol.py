"""Limits on slow readers, with a transport in place of a network."""

import asyncio
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from slimseq.app.http.connections import ConnectionLimits, Connections
from slimseq.app.http.protocol import LimitedProtocol

pytestmark = pytest.mark.anyio


class UnreadTransport(asyncio.Transport):
    """The transport of a client that reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent = 0
        self.is_closed = self.is_aborted = False

    def write(self, data: Any) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True


async def test_a_client_that_does_not_read_the_end_of_its_last_response_is_disconnected() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 2**20})

    shared = Connections(ConnectionLimits(connections=1, header_bytes=1000, header_seconds=1, stall_seconds=0.05))
    config = Config(answer, lifespan="off", log_config=None)
    config.load()
    transport = UnreadTransport()
    protocol = LimitedProtocol(config, ServerState(), {}, asyncio.get_running_loop(), shared=shared)
    protocol.connection_made(transport)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert protocol not in shared.waiting
    while not transport.is_closed:
        await asyncio.sleep(0)
    # The client reads until the transport's buffer is below its low-water mark, and no further.
    protocol.pause_writing()
    transport.unsent = 1000
    protocol.resume_writing()

    # Until then a new connection may take its place.
    assert protocol in shared.waiting
    # Above `stall_seconds`.
    await asyncio.sleep(0.2)
    assert transport.is_aborted
