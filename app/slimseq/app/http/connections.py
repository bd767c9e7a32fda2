"""What the connections of a server share: their limits, the choice of one to close if there are too many, and a log.

`slimseq.app.http.protocol` is one connection.
"""

import ipaddress
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

IPV6_BITS = 64  # What providers assign to one customer (RFC 6177).
LOG_SECONDS = 10.0  # Each limit is logged at most once in this time, so that an attack does not fill the log.

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a server's connections.

    Attributes:
        connections: open connections.
        header_bytes: bytes of request line and headers.
        header_seconds: time to send them, from the connection or from their first byte on.
        stall_seconds: time in which the client reads nothing of a response.
    """

    connections: int
    header_bytes: int
    header_seconds: float
    stall_seconds: float


def network_of(address: str) -> str:
    """Returns what one client has of its own: its address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    # An IPv4 client of a socket for both versions, such as `::ffff:192.0.2.1`.
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), IPV6_BITS), strict=False))


class _Logged(NamedTuple):
    """When a message was logged, as a time of `time.monotonic`, and how often it was left out since then."""

    logged_at: float
    left_out: int


class Connections:
    """The state that the connections of a server share. Used from the event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        # Whether the server stops: every response then closes its connection.
        self.is_stopping = False
        # By connection, the network of its client.
        self.open: dict[HttpToolsProtocol, str] = {}
        # Connections whose client has to send or to read, the one without progress for longest first. It is a set that
        # keeps the order of insertion.
        self.waiting: dict[HttpToolsProtocol, None] = {}
        # By message.
        self._logged: dict[str, _Logged] = {}

    def opened(self, connection: HttpToolsProtocol) -> bool:
        """Adds a new connection. Returns whether it may be used.

        Above the limit, a connection that waits for its client is closed: of the network with most connections, the one
        that has waited the longest. If none waits, the new connection is rejected.
        """
        self.open[connection] = network_of(connection.client[0] if connection.client else "")
        if len(self.open) > self.limits.connections and self.waiting:
            counts = Counter(self.open.values())
            # `waiting` begins with the longest wait, and `max` returns the first of equal ones.
            to_close = max(self.waiting, key=lambda each: counts[self.open[each]])
            self.log("too many connections: one of the network with most of them is closed", to_close.client)
            self.closed(to_close)
            to_close.transport.abort()
        # A rejected connection stays open for a moment, in which it waits for its client to read the error. Connections
        # that wait do not count here, because the next new connections close them.
        serving = len(self.open) - len(self.waiting)
        return serving <= self.limits.connections

    def closed(self, connection: HttpToolsProtocol) -> None:
        self.open.pop(connection, None)
        self.waiting.pop(connection, None)

    def log(self, message: str, client: tuple[str, int] | None) -> None:
        """Logs that a connection of a client reached a limit, unless the same message was logged recently."""
        now = time.monotonic()
        last = self._logged.get(message)
        if last is not None and now - last.logged_at < LOG_SECONDS:
            self._logged[message] = _Logged(last.logged_at, last.left_out + 1)
            return
        self._logged[message] = _Logged(now, left_out=0)
        address = client[0] if client else None
        unlogged = last.left_out if last else 0
        logger.warning(message, extra={"client": address, "unlogged": unlogged})
