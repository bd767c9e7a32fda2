"""The limits on connections, and what all connections of a server share: which ones wait, and the log of limits.

`slimseq.app.server.protocol` has one connection; `slimseq.app.server.server` ends them all.
"""

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from slimseq.app.settings import Settings

LOG_SECONDS = 10.0  # A limit is logged at most once in this time, so that the log is not an attack of its own.

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a server's connections.

    Args:
        connections: how many may be open.
        header_bytes: bytes of a request's first line and headers.
        header_seconds: time to send them, from the connection or their first byte on.
        stall_seconds: how long a client may leave its answer unread while more is to be sent.
    """

    connections: int
    header_bytes: int
    header_seconds: float
    stall_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "ConnectionLimits":
        """Returns what the settings say."""
        return cls(
            connections=settings.max_connections,
            header_bytes=settings.max_header_bytes,
            header_seconds=settings.header_timeout_seconds,
            stall_seconds=settings.request_timeout_seconds,
        )


class Droppable(Protocol):
    """A connection as this module sees it."""

    client: tuple[str, int] | None

    def drop(self) -> None:
        """Closes the connection at once."""


class Connections:
    """What the connections of one server share. Used from the event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.is_stopping = False
        self._open: set[Droppable] = set()
        # Connections with no request in progress, the oldest first.
        self._waiting: dict[Droppable, None] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    def opened(self, connection: Droppable) -> bool:
        """Notes a new connection; says whether it may be used.

        At the limit, the oldest connection with no request in progress is closed. Without one, the new one is refused.
        """
        self._open.add(connection)
        if len(self._open) > self.limits.connections and self._waiting:
            self._drop(next(iter(self._waiting)))
        return len(self._open) - len(self._waiting) <= self.limits.connections

    def closed(self, connection: Droppable) -> None:
        """Forgets a connection."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: Droppable) -> None:
        """Notes that a connection has no request in progress."""
        if connection in self._open:
            self._waiting[connection] = None

    def works(self, connection: Droppable) -> None:
        """Notes that a connection has a request in progress."""
        self._waiting.pop(connection, None)

    def _drop(self, connection: Droppable) -> None:
        self.log("too many connections: the oldest without a request is closed", connection.client)
        self.closed(connection)
        connection.drop()

    def log(self, limit: str, client: tuple[str, int] | None) -> None:
        """Logs that a connection reached a limit, unless that limit was logged a moment ago.

        Args:
            limit: what happened.
            client: the address.
        """
        now = time.monotonic()
        last, unlogged = self._logged.get(limit, (-LOG_SECONDS, 0))
        if now - last < LOG_SECONDS:
            self._logged[limit] = (last, unlogged + 1)
            return
        self._logged[limit] = (now, 0)
        logger.warning(limit, extra={"client": client[0] if client else None, "unlogged": unlogged})
