"""The limits of connections, and the state that the connections of a server share: which are idle, and the log.

`slimseq.app.http.protocol` implements a connection. `slimseq.app.http.server` closes them.
"""

import logging
import time
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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


class Connections:
    """The shared state of the connections of a server. Used from the event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        # Responses close their connections.
        self.is_stopping = False
        self._open: set[HttpToolsProtocol] = set()
        # Connections without a complete request, the one that was idle longest first.
        self._idle: dict[HttpToolsProtocol, None] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    def opened(self, connection: HttpToolsProtocol) -> bool:
        """Adds a new connection. Returns whether it may be used.

        At the limit, the oldest idle connection is closed. If there is none, the new one is rejected.
        """
        self._open.add(connection)
        if len(self._open) > self.limits.connections and self._idle:
            oldest = next(iter(self._idle))
            self.log("too many connections: the oldest one without a complete request is closed", oldest.client)
            self.closed(oldest)
            oldest.transport.abort()
        return len(self._open) - len(self._idle) <= self.limits.connections

    def closed(self, connection: HttpToolsProtocol) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def mark_idle(self, connection: HttpToolsProtocol) -> None:
        if connection in self._open:
            self._idle[connection] = None

    def mark_receiving(self, connection: HttpToolsProtocol) -> None:
        """Marks an idle connection as the last to be closed. It stays idle until its request is complete."""
        if connection in self._idle:
            del self._idle[connection]
            self._idle[connection] = None

    def mark_busy(self, connection: HttpToolsProtocol) -> None:
        self._idle.pop(connection, None)

    def log(self, limit: str, client: tuple[str, int] | None) -> None:
        """Logs that a connection of a client reached a limit, unless the limit was logged recently."""
        now = time.monotonic()
        last, unlogged = self._logged.get(limit, (-LOG_SECONDS, 0))
        if now - last < LOG_SECONDS:
            self._logged[limit] = (last, unlogged + 1)
            return
        self._logged[limit] = (now, 0)
        logger.warning(limit, extra={"client": client[0] if client else None, "unlogged": unlogged})
