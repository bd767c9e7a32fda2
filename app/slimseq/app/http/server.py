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
from slimseq.app.setting_types import listed
from slimseq.app.settings import Settings

STARTUP_FAILED = 3  # uvicorn's exit code
MAX_HEADER_BYTES = 32 * 1024  # nginx's four buffers of 8 KiB.
# Time for the 503 responses of the requests that the end of the grace period cancels.
CUT_OFF_SECONDS = 0.2
# Deadlines of `BoundedStop`: after the grace period, for closing the application once every request is answered, and
# for the shutdown of the interpreter. The process ends at the earliest deadline, so the last two never prolong the
# first one.
AFTER_GRACE_SECONDS = 0.5
CLOSING_SECONDS = 2.0
EXIT_SECONDS = 1.0
# The grace period ends early if no connection has had a request for this time.
QUIET_SECONDS = 0.2
# It does not end early if, within this time, a connection was opened or its response ended, after the signal.
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
            listens_everywhere = self.config.host in ("0.0.0.0", "::")
            host = "127.0.0.1" if listens_everywhere else self.config.host
            sys.stderr.write(f"Open http://{host}:{self.config.port}/\n")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Starts the shutdown. A second signal ends the drain and the grace period."""
        is_second_signal = self.should_exit
        # uvicorn's flags: `should_exit` ends its main loop, and `force_exit` says that nothing is to be waited for.
        self.should_exit = True
        self.force_exit = is_second_signal
        self._connections.is_stopping = True

        drain_seconds = 0.0 if is_second_signal else self._settings.drain_seconds
        grace_seconds = 0.0 if is_second_signal else float(self._settings.shutdown_grace_seconds)
        now = time.monotonic()
        self._stopped_at = min(self._stopped_at, now)
        self._drained_at = now + drain_seconds
        self._cut_off_at = self._drained_at + grace_seconds
        self._bounded_stop.end_within(drain_seconds + grace_seconds + AFTER_GRACE_SECONDS)
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
        """Closes the sockets that listen, and accepts the connections that wait in their queues."""
        # Closing a server closes its sockets. Copies of their file descriptors keep the queues open.
        listening: list[socket.socket] = []
        for server in self.servers:
            for each in server.sockets:
                listening.append(socket.socket(fileno=os.dup(each.fileno())))
            server.close()
        make_protocol = functools.partial(
            LimitedProtocol, self.config, self.server_state, self.lifespan.state, shared=self._connections
        )
        # First all are accepted, and the sockets closed: serving a connection suspends this coroutine.
        accepted = [connection for each in listening for connection in _accept_waiting(each)]
        for connection in accepted:
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


def _accept_waiting(listening: socket.socket) -> list[socket.socket]:
    """Returns the connections that wait in the queue of a socket, and closes the socket."""
    accepted: list[socket.socket] = []
    with listening:
        listening.setblocking(False)
        # `accept` raises an `OSError` once no connection waits.
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.setblocking(False)
                accepted.append(connection)
    return accepted


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
    # A signal during the start ends the service without an error.
    has_started_or_was_stopped = server.started or server.should_exit
    return 0 if has_started_or_was_stopped else STARTUP_FAILED


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
