"""The limits of connections, and the state that the connections of a server share: which are idle, and the log.

`slimseq.app.server.protocol` implements a connection. `slimseq.app.server.server` closes them.
"""

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from slimseq.app.settings import Settings

# Of all responses that clients have not read yet. As much as the bodies of requests in progress may be by default.
MAX_UNREAD_BYTES = 64 * 1024**2
LOG_SECONDS = 10.0  # Each limit is logged at most once in this time, so that an attack does not fill the log.

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of the connections of a server.

    Args:
        connections: maximum number of connections.
        header_bytes: maximum size of the request line and headers.
        header_seconds: time to send them, from the connection or their first byte on.
        stall_seconds: maximum time without progress while a response is sent.
    """

    connections: int
    header_bytes: int
    header_seconds: float
    stall_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "ConnectionLimits":
        """Returns the limits of the settings."""
        return cls(
            connections=settings.max_connections,
            header_bytes=settings.max_header_bytes,
            header_seconds=settings.header_timeout_seconds,
            stall_seconds=settings.request_timeout_seconds,
        )


class Droppable(Protocol):
    """The part of a connection that this module needs."""

    client: tuple[str, int] | None

    @property
    def unsent_bytes(self) -> int:
        """Number of bytes of responses that are not sent yet."""

    def drop(self) -> None:
        """Closes the connection at once."""


class Connections:
    """The shared state of the connections of a server. Used from the event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        # Responses close their connections.
        self.is_stopping = False
        # The application closes: further requests are answered with 503.
        self.is_closing = False
        self._open: set[Droppable] = set()
        # Connections without a complete request, the one that was idle longest first.
        self._idle: dict[Droppable, None] = {}
        # Connections whose clients are slow to read, the slowest first.
        self._unread: dict[Droppable, None] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    def opened(self, connection: Droppable) -> bool:
        """Adds a new connection. Returns whether it may be used.

        At the limit, the oldest idle connection is closed. If there is none, the new one is rejected.
        """
        self._open.add(connection)
        if len(self._open) > self.limits.connections and self._idle:
            self._drop(
                next(iter(self._idle)), "too many connections: the oldest one without a complete request is closed"
            )
        return len(self._open) - len(self._idle) <= self.limits.connections

    def closed(self, connection: Droppable) -> None:
        """Removes a connection."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._unread.pop(connection, None)

    def mark_idle(self, connection: Droppable) -> None:
        """Marks a connection as idle."""
        if connection in self._open:
            self._idle[connection] = None

    def mark_receiving(self, connection: Droppable) -> None:
        """Marks an idle connection as the last to be closed. It stays idle until its request is complete."""
        if connection in self._idle:
            del self._idle[connection]
            self._idle[connection] = None

    def mark_busy(self, connection: Droppable) -> None:
        """Marks a connection as busy."""
        self._idle.pop(connection, None)

    def mark_unread(self, connection: Droppable) -> None:
        """Marks a connection whose client is slow to read. If too much is unread, the slowest clients are dropped."""
        self._unread[connection] = None
        unread = sum(each.unsent_bytes for each in self._unread)
        while unread > MAX_UNREAD_BYTES and len(self._unread) > 1:
            slowest = next(iter(self._unread))
            unread -= slowest.unsent_bytes
            self._drop(slowest, "responses are not read: the connection that waits longest is closed")

    def mark_read(self, connection: Droppable) -> None:
        """Marks a connection whose client has read most of what was sent."""
        self._unread.pop(connection, None)

    def _drop(self, connection: Droppable, reason: str) -> None:
        self.log(reason, connection.client)
        self.closed(connection)
        connection.drop()

    def log(self, limit: str, client: tuple[str, int] | None) -> None:
        """Logs that a connection reached a limit, unless the limit was logged recently.

        Args:
            limit: the message.
            client: the address of the client.
        """
        now = time.monotonic()
        last, unlogged = self._logged.get(limit, (-LOG_SECONDS, 0))
        if now - last < LOG_SECONDS:
            self._logged[limit] = (last, unlogged + 1)
            return
        self._logged[limit] = (now, 0)
        logger.warning(limit, extra={"client": client[0] if client else None, "unlogged": unlogged})
