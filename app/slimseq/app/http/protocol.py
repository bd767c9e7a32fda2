"""An HTTP connection: uvicorn's httptools protocol with limits on bytes and time of headers, and on slow readers.

uvicorn makes a `LimitedProtocol` for each connection. Its bytes arrive in `data_received`, which parses them and starts
the application once the head (request line and headers) is complete. The application writes through `write` and
`close`. What connections share is in `slimseq.app.http.connections`. `docs/decisions/030-reverse-proxy.md` says what is
left to a reverse proxy.

A response that starts before the end of its request closes the connection. The rest of the request is then read and
discarded for a moment, so that a client that is still sending gets the response instead of a reset (RFC 9112, 9.6).
"""

import asyncio
import contextvars
import re
import time
from collections.abc import Sequence
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from slimseq.app.errors import HeadersTooLarge, MalformedRequest, RequestTimeout, TooManyConnections
from slimseq.app.http.connections import Connections
from slimseq.app.http.problems import raw_response
from slimseq.models_store.errors import SlimseqError

LINGER_BYTES = 16 * 1024**2  # Twice the default `max_body_bytes`: a body slightly above the limit is read to its end.
LINGER_SECONDS = 2.0
# Time in which a client that sends no more may still get its response. A client that has left looks the same.
HALF_CLOSED_SECONDS = 1.0
# Characters of a host and port (RFC 3986, 3.2.2).
HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*")
# Headers that a request may have once.
SINGLE_HEADERS = (b"host", b"authorization", b"content-encoding", b"content-type")
# Headers that say that a request has a body.
BODY_HEADERS = (b"content-length", b"transfer-encoding")


class WrongHead(Exception):
    """Stops the parser: the head of a request is not allowed."""


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
        # Ends the wait for a head, or for a client that still sends after its response.
        self._timer: asyncio.TimerHandle | None = None
        # Ends the wait for a client that does not read its response.
        self._stall_timer: asyncio.TimerHandle | None = None
        # Whether arriving data is discarded, since the connection closes.
        self._ignores_data = False
        # Data of this turn of the event loop that is not written yet.
        self._held = b""

        # State of the request that is being received.
        self._is_in_head = True
        self._complete_heads = 0
        self._head_bytes = 0
        # Bytes since the last part of a body that belong to no body: sizes of chunks and trailers. After a response
        # that closes the connection: all bytes.
        self._bytes_beside_body = 0
        # Whether the connection stays open after the response.
        self._keeps_alive = True

        # `time.monotonic()` of the connection or of its last response.
        self.idle_since = time.monotonic()

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        if not self._shared.opened(self):
            self._shared.log("too many connections: one is rejected", self.client)
            self._refuse(TooManyConnections(self._limits.connections))
            return
        self._note_progress()
        self._timer = self.loop.call_later(self._limits.header_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._cancel_stall()
        self._shared.closed(self)
        self._report_leave()
        super().connection_lost(exc)

    def _report_leave(self) -> None:
        """Tells the middleware, which waits for the future `left`, that the client has disconnected."""
        if self.cycle is None:
            return
        left = self.cycle.scope["state"]["left"]
        if not left.done():
            left.set_result(None)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps the connection for a moment, for the response to a whole request."""
        awaits_response = self._is_in_head and self.cycle is not None and not self.cycle.response_complete
        if awaits_response:
            self.shutdown()
            self.loop.call_later(HALF_CLOSED_SECONDS, self.transport.close)
        # False lets the event loop close the connection.
        return awaits_response

    def shutdown(self) -> None:
        """Makes the current request the last one if its response can still say so, else the next one."""
        self._keeps_alive = False
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    @property
    def unsent_bytes(self) -> int:
        return len(self._held) + self.transport.get_write_buffer_size()

    # The part of a transport that uvicorn's cycle of a request and its response uses

    def is_closing(self) -> bool:
        return self._ignores_data or self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Writes data. Two writes in the same turn of the event loop, such as a head and its body, become one.

        Each write to the transport is a system call, after which the event loop waits for the interpreter.
        """
        if self._held:
            self._write_held(data)
        else:
            self._held = data
            self.loop.call_soon(self._write_held)

    def _write_held(self, following: bytes = b"") -> None:
        data = self._held + following
        self._held = b""
        # uvloop does not allow to write to a connection that was dropped.
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Closes once everything is sent. A client that is still sending gets a moment to read its response."""
        if self.transport.is_closing():
            return
        self._write_held()
        self._cancel_timer()
        if self.unsent_bytes:
            self._expect_reading()
        if self._is_in_head and not self._ignores_data:
            self.transport.close()
            return
        self._ignores_data = True
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        self._note_progress()
        self.flow.resume_reading()

    # Data

    def data_received(self, data: bytes) -> None:
        """Parses data, the request line and headers only up to their limit."""
        self._unset_keepalive_if_required()
        if self._ignores_data:
            self._bytes_beside_body += len(data)
            if self._bytes_beside_body > LINGER_BYTES:
                self.transport.abort()
            return
        if self._is_in_head:
            self._receive_head(data)
        else:
            self._receive_body(data)

    def _receive_body(self, data: bytes) -> None:
        self._bytes_beside_body += len(data)
        self._parse(data)
        self._note_progress()
        # `on_body` sets `_bytes_beside_body` to 0. It grows while there are only extensions of chunks, or trailers.
        if self._bytes_beside_body > self._limits.header_bytes and not self._is_in_head:
            self._head_is_too_large()

    def _receive_head(self, data: bytes) -> None:
        """Parses data up to the limit of a head, and the rest only if the head was complete within the limit."""
        complete_before = self._complete_heads
        allowed_bytes = self._limits.header_bytes - self._head_bytes
        self._parse(data[:allowed_bytes])
        if self._complete_heads == complete_before:
            self._head_bytes += len(data)
            if len(data) > allowed_bytes:
                self._head_is_too_large()
            elif self._timer is None and not self._ignores_data:
                self._timer = self.loop.call_later(self._limits.header_seconds, self._head_is_late)
            return
        if len(data) > allowed_bytes:
            self._parse(data[allowed_bytes:])
        self._note_progress()

    def _parse(self, data: bytes) -> None:
        if self._ignores_data:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The service upgrades no connection: this was an ordinary request. The next one may follow it.
            parsed_bytes = upgrade.args[0]
            self._parse(data[parsed_bytes:])
        except httptools.HttpParserError as error:
            self._shared.log("request is not HTTP", self.client)
            # The parser raises its own error for the `WrongHead` of `on_headers_complete`.
            cause = error.__context__
            reason = f": {cause}" if isinstance(cause, WrongHead) else ""
            self._refuse(MalformedRequest(reason))

    def on_headers_complete(self) -> None:
        """Checks the head, and starts the application."""
        version = self.parser.get_http_version()
        fault = find_fault(version, self.headers)
        if fault is not None:
            raise WrongHead(fault)
        if self.parser.should_upgrade() and any(name in BODY_HEADERS for name, _ in self.headers):
            # The parser ends such a request after its head.
            raise WrongHead("it has a body and asks for an upgrade; send it as HTTP/1.1 without `Upgrade`")
        if version == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()

        # uvicorn's cycle (of a request and its response) writes through this class, in place of the transport.
        self.cycle.transport = cast(asyncio.Transport, self)
        # For `slimseq.app.http.middleware`, which then needs no task that waits for a disconnect.
        self.scope["state"]["left"] = self.loop.create_future()

        # Trailers, which may come later, must not become headers: a proxy does not check them.
        self.headers = []
        self._is_in_head = False
        self._complete_heads += 1
        self._head_bytes = 0
        self._bytes_beside_body = 0
        self._cancel_timer()

        # A response that starts before the end of its request closes the connection. `on_message_complete` undoes this.
        self._keeps_alive = self.cycle.keep_alive and not self._shared.is_stopping
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._bytes_beside_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_head = True
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive
        self.scope["state"]["has_arrived"] = True
        super().on_message_complete()
        if not self.pipeline:
            # Reading pauses after a large piece. Nobody will ask for more of this body, and only a connection that is
            # read tells that its client leaves.
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle_since = time.monotonic()
        if not self.transport.is_closing():
            self._note_progress()

    # Limits

    def _note_progress(self) -> None:
        """Notes that the client has done something, and whether the connection now waits for the client.

        A connection waits for a request, or for the client to read a response. `Connections.waiting` has the waiting
        connections in the order of their last progress.
        """
        waiting = self._shared.waiting
        waiting.pop(self, None)
        has_open_response = self.cycle is not None and not self.cycle.response_complete
        has_whole_request = self._is_in_head or bool(self.pipeline)
        waits_for_request = not (has_open_response and has_whole_request)
        waits_for_reading = self._stall_timer is not None
        if (waits_for_request or waits_for_reading) and self in self._shared.open:
            waiting[self] = None

    def _head_is_late(self) -> None:
        self._timer = None
        if self._head_bytes:
            self._shared.log("headers did not arrive in time", self.client)
            self._refuse(RequestTimeout("the request line and headers", self._limits.header_seconds))
        else:
            self._shared.log("idle connection is closed", self.client)
            self.transport.close()

    def _head_is_too_large(self) -> None:
        self._shared.log("headers are too large", self.client)
        self._refuse(HeadersTooLarge(self._limits.header_bytes))

    def _refuse(self, error: SlimseqError) -> None:
        """Answers with an error and closes the connection. A response to an earlier request is completed first."""
        current = self.cycle
        self._ignores_data = True
        self._cancel_timer()
        if current is not None and not current.response_complete:
            if self._is_in_head:
                # Only the response to the earlier request is sent. The connection closes after it.
                current.keep_alive = False
                return
            # The request that is being answered is itself malformed. Its application sees a disconnect.
            current.disconnected = True
            current.message_event.set()
            self._report_leave()
            if current.response_started or self.pipeline:
                self.transport.abort()
                return
        # `raw_response` sets the request id. In a context of its own it does not change the id of other requests.
        context = contextvars.copy_context()
        self.write(context.run(raw_response, error))
        self.close()

    # Stalls

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_stall()
        if self.transport.is_closing():
            # The client has not read the rest.
            self._expect_reading()
        else:
            self._note_progress()

    def _expect_reading(self) -> None:
        """Gives the client `stall_seconds` to read what was written."""
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._limits.stall_seconds, self._end_stall)
        self._note_progress()

    def _end_stall(self) -> None:
        self._shared.log("client does not read its response", self.client)
        self.transport.abort()

    def _cancel_stall(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def find_fault(version: str, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Returns what is wrong with a head that the parser accepts, for an error text. None if nothing is.

    - At most one header of each of `SINGLE_HEADERS` (RFC 9110, 5.3): a proxy in front could check another one.
    - One Host header with one host (RFC 9112, 3.2). HTTP/1.0 may leave it out.
    - No transfer coding but `chunked`, which came with HTTP/1.1 (RFC 9112, 6.1): a proxy could see another end of the
      body.
    """
    given = dict(headers)
    if len(given) < len(headers):
        names = [name for name, _ in headers]
        for name in SINGLE_HEADERS:
            if names.count(name) > 1:
                return f"it has several {name.decode().title()} headers"
    if not HOST.fullmatch(given.get(b"host", b"")):
        return "its Host header is not a host"
    if b"transfer-encoding" in given:
        codings = {value.lower() for name, value in headers if name == b"transfer-encoding"}
        if codings != {b"chunked"} or version == "1.0":
            return "its Transfer-Encoding is not supported"
    if b"host" not in given and version != "1.0":
        return "it has no Host header"
    if version not in ("1.1", "1.0"):
        return f"HTTP/{version} is not supported"
    return None
