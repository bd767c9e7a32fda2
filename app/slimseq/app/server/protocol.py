"""An HTTP connection: uvicorn's httptools protocol with limits on header bytes, time, pipelining and slow readers.

A response that starts before the end of its request closes the connection. The rest of the request is then read and
discarded for a moment, so that a client that is still sending gets the response instead of a reset (RFC 9112, 9.6).
"""

import asyncio
import contextvars
import time
import uuid
from collections.abc import Callable
from typing import Any, cast

import httptools
from asgi_correlation_id import correlation_id
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from slimseq.app.errors import HeadersTimeout, HeadersTooLarge, MalformedRequest, ShuttingDown, TooManyConnections
from slimseq.app.http.problems import MEDIA_TYPE, problem_of
from slimseq.app.server.connections import Connections
from slimseq.app.server.heads import what_is_wrong, with_host_of_url, without_upgrade
from slimseq.app.server.lingering import LingeringTransport
from slimseq.models_store.errors import SlimseqError

LINGER_BYTES = 16 * 1024**2  # Twice the default `max_body_bytes`: a body slightly above the limit is read to its end.
LINGER_SECONDS = 2.0
MAX_PIPELINED = 16  # Maximum number of waiting requests of a connection. The client may send more requests again.


class TooManyPipelined(Exception):
    """Stops the parser."""


class WrongHead(Exception):
    """Stops the parser: the head of a request is not allowed."""


class ArrivedTooLate(Exception):
    """Stops the parser: the application closes."""


class LimitedProtocol(HttpToolsProtocol):
    """A connection with `ConnectionLimits`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        shared: Connections,
    ) -> None:
        """Called by uvicorn for each connection. `shared` is the state of all connections."""
        super().__init__(config, server_state, app_state, _loop)
        self._shared = shared
        self._limits = shared.limits
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._ignores_data = False
        self._discarded_bytes = 0
        # The request whose application runs. `cycle` is the one that was received last.
        self._running: RequestResponseCycle | None = None
        self._waits_for_reader = False
        # State of the request that is being received.
        self._is_in_head = True
        self._is_upgrade = False
        self._heads = 0
        self._head_bytes = 0
        self._silent_bytes = 0
        self._keeps_alive = True
        # `time.monotonic()` of the connection or of its last response.
        self.idle_since = time.monotonic()

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts a connection, or rejects it if there are too many."""
        super().connection_made(cast(asyncio.Transport, LingeringTransport(cast(asyncio.Transport, transport), self)))
        if not self._shared.opened(self):
            self._shared.log("too many connections: one is rejected", self.client)
            self._refuse(TooManyConnections(self._limits.connections))
            return
        self._shared.mark_idle(self)
        self._timer = self.loop.call_later(self._limits.header_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends a connection."""
        self._cancel_timer()
        self._cancel_stall()
        self._shared.closed(self)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Closes the connection at once."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Makes the current request the last one if its response can still say so, else the next one."""
        self._keeps_alive = False
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    @property
    def unsent_bytes(self) -> int:
        """Number of bytes of responses that are not sent yet."""
        return self.transport.get_write_buffer_size()

    # Data

    def data_received(self, data: bytes) -> None:
        """Parses data, the request line and headers only up to their limit."""
        self._unset_keepalive_if_required()
        if self._ignores_data:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > LINGER_BYTES:
                self.drop()
            return
        heads = self._heads
        if not self._is_in_head:
            self._silent_bytes += len(data)
            self._parse(data)
            if self._silent_bytes > self._limits.header_bytes and not self._is_in_head:
                self._head_is_too_large()
            return
        left = self._limits.header_bytes - self._head_bytes
        self._parse(data[:left])
        if self._heads == heads:
            self._head_bytes += len(data)
            if len(data) > left:
                self._head_is_too_large()
            elif self._timer is None and not self._ignores_data:
                self._timer = self.loop.call_later(self._limits.header_seconds, self._head_is_late)
        elif len(data) > left:
            self._parse(data[left:])

    def _parse(self, data: bytes) -> None:
        if self._ignores_data:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._is_upgrade:
                # CONNECT: it is answered, and the connection is closed.
                self._stop_reading()
                return
            # Upgrades are not supported: the request is one without. Clients of HTTP/2 send them first.
            self._parse(self._without_upgrade() + data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, TooManyPipelined):
                self._shared.log("too many pipelined requests: the rest is not read", self.client)
                self._stop_reading()
            elif isinstance(error.__context__, WrongHead):
                self._is_malformed(str(error.__context__))
            elif isinstance(error.__context__, ArrivedTooLate):
                self._refuse(ShuttingDown())
            else:
                self._is_malformed()
        except httptools.HttpParserError:
            self._is_malformed()

    def on_message_begin(self) -> None:
        """Starts a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise TooManyPipelined
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Starts the application. A response that starts before the end of the request closes the connection."""
        if self._shared.is_closing:
            raise ArrivedTooLate
        version = self.parser.get_http_version()
        if wrong := what_is_wrong(version, self.headers):
            raise WrongHead(wrong)
        if self.url[:1] != b"/":
            self.headers[:] = with_host_of_url(self.url, self.headers)
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._is_upgrade = True
            return
        if version == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()
        if len(self.pipeline) <= MAX_PIPELINED // 2:
            # uvicorn stops reading at the first waiting request, and then does not see that a client leaves.
            self.flow.resume_reading()
        # Trailers, which may come later, are no headers: a proxy does not check them.
        self.headers = []
        self._is_in_head = False
        self._heads += 1
        self._head_bytes = self._silent_bytes = 0
        self._cancel_timer()
        self._shared.mark_receiving(self)
        self._keeps_alive = self.cycle.keep_alive and not self._shared.is_stopping
        self.cycle.keep_alive = False

    def _without_upgrade(self) -> bytes:
        """Returns the head of the request without its upgrade, and starts another parser, which can parse the body."""
        head = without_upgrade(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self._is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return head

    def on_body(self, body: bytes) -> None:
        """Receives a part of a body."""
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends the request."""
        if self._is_upgrade:
            return
        self._is_in_head = True
        self._shared.mark_busy(self)
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Continues with the next request, or waits for one, once the client has read most of the response."""
        if self.flow.write_paused and not self.transport.is_closing():
            self._waits_for_reader = True
            self.flow.pause_reading()
            return
        super().on_response_complete()
        self.idle_since = time.monotonic()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._shared.mark_idle(self)

    # Limits

    def _head_is_late(self) -> None:
        self._timer = None
        if self._head_bytes:
            self._shared.log("headers did not arrive in time", self.client)
            self._refuse(HeadersTimeout(self._limits.header_seconds))
        else:
            self._shared.log("idle connection is closed", self.client)
            self.transport.close()

    def _head_is_too_large(self) -> None:
        self._shared.log("headers are too large", self.client)
        self._refuse(HeadersTooLarge(self._limits.header_bytes))

    def _is_malformed(self, reason: str = "") -> None:
        self._shared.log("request is not HTTP", self.client)
        self._refuse(MalformedRequest(reason))

    def _refuse(self, error: SlimseqError) -> None:
        """Answers the current request with an error and closes the connection, after pending responses."""
        current = self.cycle
        if current is not None and not current.response_complete:
            if self._is_in_head:
                self._stop_reading()
                return
            # The request is malformed. Its application sees a disconnect.
            current.disconnected = True
            current.message_event.set()
            if current.response_started or self.pipeline:
                self.drop()
                return
        # In a context of its own, as each request.
        self.transport.write(contextvars.copy_context().run(_answer, error))
        self._ignores_data = True
        self.transport.close()

    def _stop_reading(self) -> None:
        """Closes the connection with the response to the current request, and reads nothing more."""
        self._ignores_data = True
        self._keeps_alive = False
        self._cancel_timer()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
            return
        self.cycle.keep_alive = False
        self.flow.pause_reading()

    @property
    def is_arriving(self) -> bool:
        """Whether a request has started and not ended."""
        return not self._is_in_head or self._ignores_data

    def linger(self, end: Callable[[], None]) -> None:
        """Reads and discards further data for a moment, then calls `end`."""
        self._ignores_data = True
        self._cancel_timer()
        self._timer = self.loop.call_later(LINGER_SECONDS, end)
        self._shared.mark_idle(self)
        self.flow.resume_reading()

    # Stalls

    def pause_writing(self) -> None:
        """Called when the write buffer is full."""
        super().pause_writing()
        self.expect_reading()
        self._shared.mark_unread(self)

    def resume_writing(self) -> None:
        """Called when the write buffer has space again."""
        super().resume_writing()
        self._cancel_stall()
        self._shared.mark_read(self)
        if self._waits_for_reader:
            self._waits_for_reader = False
            self.on_response_complete()

    def expect_reading(self) -> None:
        """Starts the timeout for the client to read what was written."""
        if self._stall is None:
            self._stall = self.loop.call_later(self._limits.stall_seconds, self._is_stalled)

    def _is_stalled(self) -> None:
        self._shared.log("client does not read its response", self.client)
        self.drop()

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _answer(error: SlimseqError) -> bytes:
    identifier = uuid.uuid4().hex
    correlation_id.set(identifier)
    problem = problem_of(error)
    body = problem.model_dump_json().encode()
    head = (
        f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nx-request-id: {identifier}\r\n"
        "connection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.status] + head.encode() + body
