"""The layer around the router: what holds for every request, whatever its route.

A request passes these steps:

1. It gets a request id and, where traces are on, a span.
2. Its host name is checked.
3. The site of the page that sent it is checked (cross-site request forgery, CSRF).
4. Its key says who the caller is, and the request is counted against the limits of the key.
5. Its body is read within limits.
6. Its route runs. If the client leaves, the route is cancelled.

An error of any step becomes a problem. Security headers are added to every response. At the end the request is counted
in the metrics, and logged as one line.
"""

import asyncio
import logging
import random
import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi.sse import EventSourceResponse, format_sse_event
from opentelemetry.trace import Span
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.errors import ShuttingDown, Unauthenticated
from slimseq.app.failures import ENDINGS, answer_to
from slimseq.app.http.body import BodyReader
from slimseq.app.http.callers import NOBODY, Admission, KeyRing
from slimseq.app.http.problems import problem_of, problem_response, problem_type
from slimseq.app.http.sites import METHODS_WITH_BODY, TrustedHosts, check_site
from slimseq.app.http.usage import UsageCounter
from slimseq.app.observability.logs import REQUEST, request_id
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.models_store.errors import SlimseqError

# Methods that are labels of metrics. Others are `other`, so that clients cannot invent labels.
METHOD_LABELS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS"})
# Probes of load balancers, which may come by any host name.
PROBES = frozenset({"/healthz", "/readyz"})
# Monitoring requests these every few seconds. They have no span, and are logged only at the level DEBUG.
MONITORED = PROBES | {"/libretranslate/health", "/metrics"}
# Probes, documentation, and what LibreTranslate's servers tell everybody. They need no key.
OPEN_PATHS = PROBES | {
    "/",
    "/docs",
    "/favicon.ico",
    "/libretranslate/frontend/settings",
    "/libretranslate/health",
    "/libretranslate/languages",
    "/openapi.json",
}
OPEN_PREFIXES = ("/assets/", "/problems/")
CLIENT_CLOSED = 499  # nginx's status for a client that disconnected before the response.
# The request ids that are taken over from a client's header. Others are replaced by a random one.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")
REQUEST_ID_BITS = 128
# Added to responses that do not set them. The page and its assets set their own.
SECURITY_HEADERS = {
    # Responses hold texts of users, or are true only for a moment.
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}

logger = logging.getLogger(__name__)


class Exchange:
    """One request, and what is known of its response so far.

    Attributes:
        scope: the ASGI scope, as the server made it.
        routed: the scope that the router gets: a HEAD request becomes a GET request.
        state: values that other parts of the service set or read: `admission`, `address`, `problem`; and of
            `slimseq.app.http.protocol`, `has_arrived` (the body is complete) and `left` (a future that ends when the
            client disconnects).
        headers: the request's headers by lower-case name.
        started: time of `time.perf_counter`.
        mounted_at: length of the path below which the server mounts the whole application.
        method: the method as a label of metrics.
        status: status of the response, `CLIENT_CLOSED` until it starts.
        media_type: content type of the response.
        is_complete: whether the last part of the response was sent.
        address: IP address of the client, empty if it is unknown.
        identifier: the request id: from the client's header `X-Request-ID`, or a new one.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        # HEAD is answered wherever GET is. The server then sends the headers alone.
        self.routed: Scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        self.state = scope.setdefault("state", {})
        # Of a repeated header the first counts. `dict` keeps the last one, hence `reversed`.
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        client_identifier = self.headers.get(b"x-request-id", b"")
        if REQUEST_ID.fullmatch(client_identifier):
            self.identifier = client_identifier.decode()
        else:
            self.identifier = f"{random.getrandbits(REQUEST_ID_BITS):032x}"
        self.started = time.perf_counter()
        self.mounted_at = len(scope.get("root_path", ""))
        self.method = scope["method"] if scope["method"] in METHOD_LABELS else "other"
        self.status = CLIENT_CLOSED
        self.media_type = ""
        self.is_complete = False
        # A client is an address and a port.
        self.address = scope["client"][0] if scope.get("client") else ""
        self.state["address"] = self.address
        self._send = send

    @property
    def has_started(self) -> bool:
        return self.status != CLIENT_CLOSED

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    async def send(self, message: Message) -> None:
        """Sends a part of the response. Adds to the response's headers the security headers and the request id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            set_by_route = dict(message["headers"])
            self.media_type = set_by_route.get(b"content-type", b"").decode("latin-1")
            added: Iterable[tuple[bytes, bytes]] = SECURITY_HEADERS.items()
            if not set_by_route.keys().isdisjoint(SECURITY_HEADERS):
                added = [(name, value) for name, value in added if name not in set_by_route]
            identifier = (b"x-request-id", self.identifier.encode())
            message = {**message, "headers": [*message["headers"], *added, identifier]}
        elif not message.get("more_body", False):
            self.is_complete = True
            # Released before the client has the whole response, since it may send its next request at once.
            self.release()
        await self._send(message)

    def release(self) -> None:
        """Ends the request for the limits of its key. The key is from the header, or the route found it in the body."""
        admission: Admission | None = self.state.get("admission")
        if admission is not None:
            admission.release()


@dataclass(eq=False)
class ServiceMiddleware:
    """The layer around the application `app`.

    Attributes:
        hosts: host names by which requests may come. None allows all.
        traces: makes a span for each request except `MONITORED` ones.
        paths: paths that may be labels of metrics if a request is rejected before it reaches the router.
        key_in_body: paths whose requests may have the key in their body. Their routes check it.
        origins: pages of these origins may change something here, as pages of this site may. `*` allows all.
    """

    app: ASGIApp
    bodies: BodyReader
    keys: KeyRing
    usage: UsageCounter
    metrics: ServiceMetrics
    hosts: TrustedHosts | None = None
    traces: Traces | None = None
    paths: frozenset[str] = frozenset()
    key_in_body: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A path with a slash at its end is the same path.
        scope["path"] = scope["path"].rstrip("/") or "/"
        exchange = Exchange(scope, send)
        request_id.set(exchange.identifier)
        if self.traces is None or scope["path"] in MONITORED:
            await self._answer(exchange, receive)
        else:
            with self.traces.request(exchange.method, Headers(scope=scope)) as span:
                await self._answer(exchange, receive, span)

    async def _answer(self, exchange: Exchange, receive: Receive, span: Span | None = None) -> None:
        """Answers a request, errors with problems. The text of an unexpected exception is logged and not sent."""
        try:
            await self._admit_and_run(exchange, receive)
        except SlimseqError as error:
            await self._refuse(exchange, receive, answer_to(error, "the request cannot be answered"))
        except asyncio.CancelledError:
            if not await self._end_cancelled(exchange, receive):
                raise
        except ENDINGS:
            raise
        except BaseException as error:
            logger.exception("unexpected exception")
            await self._refuse(exchange, receive, answer_to(error, "the request cannot be answered"))
        finally:
            self._record(exchange, span)

    async def _end_cancelled(self, exchange: Exchange, receive: Receive) -> bool:
        """Ends a request that the server cancels, since the grace period of a shutdown is over.

        A response that has not started becomes a problem, and a stream of events gets a last event with the problem.

        Returns:
            Whether the response has an end now. False for other responses: they are complete, or cannot be completed.
        """
        if exchange.has_started:
            is_stream = exchange.media_type.startswith(EventSourceResponse.media_type)
            if exchange.is_complete or not is_stream:
                return False
            event = format_sse_event(event="error", data_str=problem_of(ShuttingDown()).model_dump_json())
            await exchange.send({"type": "http.response.body", "body": event, "more_body": False})
        await self._refuse(exchange, receive, ShuttingDown())
        return True

    async def _refuse(self, exchange: Exchange, receive: Receive, error: SlimseqError) -> None:
        """Notes the problem for metrics and the log, and answers with it unless the response has started."""
        exchange.state["problem"] = problem_type(error).slug
        if not exchange.has_started:
            await problem_response(error)(exchange.scope, receive, exchange.send)

    async def _admit_and_run(self, exchange: Exchange, receive: Receive) -> None:
        """Checks a request before its body is read, counts it against the limits of its key, and runs it."""
        path = exchange.scope["path"]
        if self.hosts and path not in PROBES:
            self.hosts.check(exchange.header(b"host"))
        if b"sec-fetch-site" in exchange.headers or b"origin" in exchange.headers:
            site = exchange.header(b"sec-fetch-site")
            origin = exchange.header(b"origin")
            host = exchange.header(b"host")
            check_site(exchange.scope["method"], site, origin, host, self.origins)

        caller = NOBODY
        if path not in OPEN_PATHS and not path.startswith(OPEN_PREFIXES):
            caller = self.keys.by_header(exchange.header(b"authorization"), exchange.address)
            if caller is NOBODY and path not in self.key_in_body:
                raise Unauthenticated

        admission = Admission(caller, self.usage)
        exchange.state["admission"] = admission
        try:
            await admission.request()
            if exchange.scope["method"] in METHODS_WITH_BODY:
                await self._read_and_run(exchange, receive)
            else:
                await self.app(exchange.routed, receive, exchange.send)
        finally:
            exchange.release()

    async def _read_and_run(self, exchange: Exchange, receive: Receive) -> None:
        """Reads the body, and runs the route while it watches the connection.

        A client that disconnects cancels its route, and with it the queued work of its request.
        """
        state = exchange.state
        has_arrived = "has_arrived" in state
        pieces = await self.bodies.read(exchange.scope["path"], exchange.headers, receive, has_arrived=has_arrived)
        if pieces is None:
            # The client has left before the end of the body.
            return
        body_bytes = sum(map(len, pieces))
        unread = deque(pieces)
        # The queue alone holds the pieces, so that a piece is freed once the route has it.
        del pieces
        running = asyncio.current_task()
        is_over = False
        is_cancelled_here = False

        def cancel_route(_: object) -> None:
            nonlocal is_cancelled_here
            # The server also reports a disconnect after a complete response. Then the route goes on to its end.
            if running and not is_over and not exchange.is_complete:
                is_cancelled_here = True
                running.cancel()

        async def receive_piece() -> Message:
            if unread:
                piece = unread.popleft()
                if unread:
                    # Each piece takes a while to parse. Other requests run in between.
                    await asyncio.sleep(0)
                return {"type": "http.request", "body": piece, "more_body": bool(unread)}
            await asyncio.wait({left})
            return {"type": "http.disconnect"}

        # The protocol makes the future `left`. Servers of tests do not.
        left: asyncio.Future[None] = state.get("left") or asyncio.ensure_future(_disconnect(receive))
        left.add_done_callback(cancel_route)
        try:
            await self.app(exchange.scope, receive_piece, exchange.send)
        except asyncio.CancelledError:
            if not is_cancelled_here or not running:
                raise
            # The cancellation by `cancel_route` ends here. Another one, such as by a shutdown, goes on.
            other_cancellations = running.uncancel()
            if other_cancellations:
                raise
        finally:
            is_over = True
            left.remove_done_callback(cancel_route)
            left.cancel()
            self.bodies.release(body_bytes)

    def _record(self, exchange: Exchange, span: Span | None) -> None:
        """Counts, times and logs a request once. Labels are route templates, so that their number is bounded."""
        seconds = time.perf_counter() - exchange.started
        scope, state, status = exchange.scope, exchange.state, exchange.status
        route = self._route_label(exchange)
        problem = state.get("problem")
        self.metrics.request_ended(exchange.method, route, status, seconds, problem)
        if span:
            Traces.answered(span, exchange.method, route, status, problem, exchange.identifier)
        level = logging.DEBUG if route in MONITORED and status < 400 else logging.INFO
        if not logger.isEnabledFor(level):
            return
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "client": exchange.address or None,
        }
        admission: Admission | None = state.get("admission")
        if admission is not None and admission.caller.identifier:
            fields["key"] = admission.caller.identifier
        if problem:
            fields["problem"] = problem
        logger.log(level, REQUEST, extra=fields)

    def _route_label(self, exchange: Exchange) -> str:
        """Returns the template of the route that ran, such as `/variants/{task}/{variant}`."""
        route = exchange.routed.get("route")
        if route is not None:
            # The router appends to `root_path` the paths of mounted applications.
            mounted_path: str = exchange.routed.get("root_path", "")[exchange.mounted_at :]
            return mounted_path + str(route.path)
        path: str = exchange.scope["path"]
        return path if path in self.paths else "unmatched"


async def _disconnect(receive: Receive) -> None:
    """Waits until the client disconnects. For servers of tests, whose protocol makes no future `left`."""
    while (await receive())["type"] != "http.disconnect":
        pass
