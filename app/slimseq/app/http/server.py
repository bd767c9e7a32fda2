"""uvicorn's server with a bounded shutdown, which takes at most a second longer than its two periods.

1. SIGTERM or SIGINT: the drain period. `GET /readyz` answers 503, so that load balancers look for other services.
   Everything is still served. From now on every response closes its connection.
2. The grace period: no new connections; requests in progress and those on open connections are answered.
3. Once no request is left, closing begins. At the end of the grace period, running requests are cancelled and answered
   with 503 first.
4. Closing: connections, and then the application with its evaluations, workers and models.
5. If any of this hangs, `BoundedStop` ends the process with exit code 0. A second signal ends both periods.

A connection is reset if the server closes it while a request is under way. So connections that wait to be accepted are
accepted before the socket closes, and a connection whose last response did not announce its end is kept for a while.
"""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.server import HANDLED_SIGNALS

from slimseq.app.http.connections import ConnectionLimits, Connections
from slimseq.app.http.protocol import LimitedProtocol
from slimseq.app.http.stopping import BoundedStop
from slimseq.app.settings import Settings, listed

STARTUP_FAILED = 3  # uvicorn's exit code
MAX_HEADER_BYTES = 32 * 1024  # nginx's four buffers of 8 KiB.
# Times of the shutdown, if requests use up both periods:
#
#     signal
#         drain period: `drain_seconds`
#     the server stops listening
#         grace period: `shutdown_grace_seconds`
#     requests that run are cut off
#         their responses: `CUT_OFF_SECONDS` (0.2) after the grace period at most
#     closing
#         deadline of `BoundedStop`: `AFTER_GRACE_SECONDS` (0.5) after the grace period
#
# `BoundedStop` ends the process at the earliest of its deadlines. So the deadlines of closing and of the exit never
# prolong the deadline of the grace period.
CUT_OFF_SECONDS = 0.2
AFTER_GRACE_SECONDS = 0.5
CLOSING_SECONDS = 2.0  # Time to close the application once every request is answered.
EXIT_SECONDS = 1.0  # Time for the shutdown of the interpreter.
# How long the grace period waits for a further request: `QUIET_SECONDS` after the last moment with a request on any
# connection, and `RECENT_SECONDS` after a connection was opened, or its last response ended, since the signal.
QUIET_SECONDS = 0.2
RECENT_SECONDS = 1.0
POLL_SECONDS = 0.02  # Interval at which the shutdown looks whether its condition holds.

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Serves until a signal comes, and then shuts down in time."""

    def __init__(
        self, config: uvicorn.Config, connections: Connections, settings: Settings, on_stop: Callable[[], None]
    ) -> None:
        """Makes a server. `on_stop` is called when a signal starts the shutdown. It must return at once."""
        super().__init__(config)
        self._connections = connections
        self._settings = settings
        self._on_stop = on_stop
        self._bounded_stop = BoundedStop()
        # Times of `time.monotonic`. `handle_exit` sets them.
        self._stopped_at = float("inf")  # The first signal.
        self._drained_at = time.monotonic()  # The end of the drain period.
        self._cut_off_at = time.monotonic()  # The end of the grace period.

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Installs the signal handlers and keeps them, so that a signal during the shutdown does no harm."""
        self._bounded_stop.start()
        for number in HANDLED_SIGNALS:
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sys.stderr.isatty() and self.started:
            host = "127.0.0.1" if self.config.host in ("0.0.0.0", "::") else self.config.host
            sys.stderr.write(f"Open http://{host}:{self.config.port}/\n")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Starts the shutdown. A second signal ends the drain and the grace period."""
        # uvicorn's flags. `should_exit` ends its main loop, and is true already if this is the second signal. With
        # `force_exit`, uvicorn's own `shutdown` would wait for nothing. The one below reads only the times set here.
        self.force_exit = self.should_exit
        self.should_exit = self._connections.is_stopping = True
        drain, grace = self._settings.drain_seconds, float(self._settings.shutdown_grace_seconds)
        if self.force_exit:
            drain = grace = 0.0
        now = time.monotonic()
        self._stopped_at = min(self._stopped_at, now)
        self._drained_at, self._cut_off_at = now + drain, now + drain + grace
        self._bounded_stop.end_within(drain + grace + AFTER_GRACE_SECONDS)
        self._on_stop()

    async def on_tick(self, counter: int) -> bool:
        """Returns whether the server stops listening: at the end of the drain period."""
        # uvicorn returns `should_exit` here.
        return await super().on_tick(counter) and time.monotonic() >= self._drained_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shuts down in the order that the module describes."""
        logger.info("shutting down")
        await self._stop_listening()
        for protocol in list(self._protocols):
            protocol.shutdown()
        await self._wait_until_quiet()
        if self.server_state.tasks:
            await self._cut_off()
        self._bounded_stop.end_within(CLOSING_SECONDS)
        for protocol in list(self._protocols):
            protocol.transport.close()
        await self.lifespan.shutdown()
        self._bounded_stop.end_within(EXIT_SECONDS)
        # The interpreter restores the default handlers before it ends, and a further signal would change the exit code.
        for number in HANDLED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    async def _stop_listening(self) -> None:
        """Accepts the connections that wait, and closes the sockets."""
        listening = [socket.socket(fileno=os.dup(each.fileno())) for server in self.servers for each in server.sockets]
        for server in self.servers:
            server.close()
        accepted: list[socket.socket] = []
        for each in listening:
            # `accept` raises an `OSError` once no connection waits.
            with each, contextlib.suppress(OSError):
                each.setblocking(False)
                while True:
                    accepted.append(each.accept()[0])
        make_protocol = functools.partial(
            LimitedProtocol, self.config, self.server_state, self.lifespan.state, shared=self._connections
        )
        for connection in accepted:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(make_protocol, connection)

    async def _cut_off(self) -> None:
        """Cancels running requests, which are then answered with 503."""
        logger.warning(
            "requests cancelled at the end of the grace period", extra={"requests": len(self.server_state.tasks)}
        )
        for task in list(self.server_state.tasks):
            task.cancel()
        deadline = time.monotonic() + CUT_OFF_SECONDS
        while self._is_busy() and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)

    @property
    def _protocols(self) -> set[LimitedProtocol]:
        """The open connections."""
        return cast(set[LimitedProtocol], self.server_state.connections)

    def _is_busy(self) -> bool:
        return bool(self.server_state.tasks) or any(each.unsent_bytes for each in self._protocols)

    async def _wait_until_quiet(self) -> None:
        """Waits until no further request is expected, or the grace period is over. A second signal ends it."""
        busy_at = time.monotonic()
        while time.monotonic() < self._cut_off_at:
            if self._is_busy():
                busy_at = time.monotonic()
            elif self._is_quiet(busy_at):
                return
            await asyncio.sleep(POLL_SECONDS)

    def _is_quiet(self, busy_at: float) -> bool:
        """Whether there are no connections, or there has been no request for a while.

        Args:
            busy_at: the last moment of the shutdown with a request in progress.
        """
        if not self._protocols:
            return True
        now = time.monotonic()
        last_idle = max(each.idle_since for each in self._protocols)
        # A connection is recent if it was opened, or its last response ended, after the signal. If that response did
        # not announce the end of the connection, the client may be sending its next request.
        is_recent = last_idle >= self._stopped_at and now - last_idle < RECENT_SECONDS
        return now - busy_at >= QUIET_SECONDS and not is_recent


def serve(app: FastAPI, settings: Settings) -> int:
    """Serves until a signal comes. Returns the exit code: 0, or 3 if the service could not start, which is logged."""
    limits = ConnectionLimits(
        connections=settings.max_connections,
        header_bytes=MAX_HEADER_BYTES,
        header_seconds=settings.header_timeout_seconds,
        stall_seconds=settings.request_timeout_seconds,
    )
    connections = Connections(limits)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=cast(Any, functools.partial(LimitedProtocol, shared=connections)),
        ws="none",
        access_log=False,
        log_config=None,
        proxy_headers=bool(listed(settings.trusted_proxies)),
        forwarded_allow_ips=listed(settings.trusted_proxies),
    )
    server = Server(config, connections, settings, app.state.services.readiness.stop)
    server.run()
    return 0 if server.started or server.should_exit else STARTUP_FAILED


def why_not_listening(host: str, port: int) -> str | None:
    """Returns why an address cannot be used, before any model is loaded. None if it can."""
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        # `create_server` adds the address to the message; the errors of name resolution have negative numbers.
        number = error.errno or 0
        return os.strerror(number) if number > 0 else str(error.strerror or error)
    return None
