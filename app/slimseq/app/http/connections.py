"""What the connections of a server share: their limits, which one goes where there are too many, and their log."""

import logging
import time
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOG_SECONDS = 10.0  # Each limit is logged at most once in this time, so that an attack does not fill the log.

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    connections: int
    # Of the request line and headers, and the time to send them, from the connection or their first byte on.
    header_bytes: int
    header_seconds: float
    # Maximum time without progress while a response is sent.
    stall_seconds: float


class Connections:
    """The state that the connections of a server share. Used from the event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        # Responses close their connections.
        self.is_stopping = False
        self.open: set[HttpToolsProtocol] = set()
        # Connections whose client has to send or to read, the one without progress for longest first.
        self.waiting: dict[HttpToolsProtocol, None] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    def opened(self, connection: HttpToolsProtocol) -> bool:
        """Adds a new connection. Returns whether it may be used.

        At the limit, the one that waits for its client for longest is closed. If none waits, the new one is rejected.
        """
        self.open.add(connection)
        if len(self.open) > self.limits.connections and self.waiting:
            oldest = next(iter(self.waiting))
            self.log("too many connections: the one without progress for longest is closed", oldest.client)
            self.closed(oldest)
            oldest.transport.abort()
        return len(self.open) - len(self.waiting) <= self.limits.connections

    def closed(self, connection: HttpToolsProtocol) -> None:
        self.open.discard(connection)
        self.waiting.pop(connection, None)

    def log(self, limit: str, client: tuple[str, int] | None) -> None:
        """Logs that a connection of a client reached a limit, unless the limit was logged recently."""
        now = time.monotonic()
        last, unlogged = self._logged.get(limit, (-LOG_SECONDS, 0))
        if now - last < LOG_SECONDS:
            self._logged[limit] = (last, unlogged + 1)
            return
        self._logged[limit] = (now, 0)
        logger.warning(limit, extra={"client": client[0] if client else None, "unlogged": unlogged})
