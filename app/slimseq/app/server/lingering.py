"""A transport that gives a client that is still sending the time to read its answer."""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Lingering(Protocol):
    """The part of a connection that this module needs."""

    @property
    def is_arriving(self) -> bool:
        """Whether a request has started and not ended."""

    def expect_reading(self) -> None:
        """Starts the timeout for the client to read what was written."""

    def linger(self, end: Callable[[], None]) -> None:
        """Reads and discards further data for a moment, then calls `end`."""


class LingeringTransport:
    """A transport that stays open for a moment after `close` if the client is still sending, so that it can read."""

    def __init__(self, transport: asyncio.Transport, protocol: Lingering) -> None:
        self._transport = transport
        self._protocol = protocol
        self._is_lingering = False
        self.abort = transport.abort
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size

    def write(self, data: bytes) -> None:
        """Writes data, unless the connection was dropped: uvloop does not allow it."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection accepts no more requests."""
        return self._is_lingering or self._transport.is_closing()

    def close(self) -> None:
        """Closes once everything is sent."""
        if self.is_closing():
            return
        if self._transport.get_write_buffer_size():
            self._protocol.expect_reading()
        if self._protocol.is_arriving:
            self._is_lingering = True
            self._transport.write_eof()
            self._protocol.linger(self._transport.close)
        else:
            self._transport.close()
