"""The one layer of ours around the router: what holds for every request, whatever its route.

In this order: a request id, a span, the host name, the sender, the body within limits, the route of a client
that stays; then every error as a problem, security headers, metrics and one line of the log.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastapi.sse import EventSourceResponse, format_sse_event
from opentelemetry.trace import Span
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.errors import Forbidden, ShuttingDown, Unauthenticated, UntrustedHost
from slimseq.app.failures import ENDINGS, answer_to
from slimseq.app.http.body import BodyReader
from slimseq.app.http.callers import NOBODY, Admission, KeyRing
from slimseq.app.http.limits import UsageCounter
from slimseq.app.http.problems import problem_of, problem_response, problem_type
from slimseq.app.observability.logs import REQUEST, request_id
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.models_store.errors import SlimseqError

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
UNSAFE_METHODS = METHODS_WITH_BODY | {"DELETE"}
METHOD_LABELS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS"})
# They may come by any host name.
PROBES = frozenset({"/healthz", "/readyz"})
# Requested every few seconds by monitoring.
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
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")
# For answers that have none of their own: the page and its assets do.
SECURITY_HEADERS = {
    # Answers have texts of users, or are about a moment.
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}

logger = logging.getLogger(__name__)


class TrustedHosts:
    """Checks by which host names requests come. `*.example.com` means all below."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._endings = tuple(host[1:].lower() for host in hosts if host.startswith("*"))

    def check(self, host: str) -> None:
        name = host.lower()
        # The colons of an IPv6 address stand in brackets.
        if ":" in name.rpartition("]")[2]:
            name = name.rpartition(":")[0]
        if name not in self._names and not name.endswith(self._endings):
            raise UntrustedHost


class Exchange:
    """One request, and what is known of its response so far."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        # As the router sees it: HEAD is answered wherever GET is. The server sends the headers alone.
        self.routed: Scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        self.state = scope.setdefault("state", {})
        # The first one of a name counts.
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.started = time.perf_counter()
        self.mounted_at = len(scope.get("root_path", ""))
        # The method as a label of metrics.
        self.method = scope["method"] if scope["method"] in METHOD_LABELS else "other"
        self.status = CLIENT_CLOSED
        self.media_type = ""
        self.is_complete = False
        self.address = self.state["address"] = scope["client"][0] if scope.get("client") else ""
        self._send = send
        offered = REQUEST_ID.fullmatch(self.headers.get(b"x-request-id", b""))
        self.identifier = offered[0].decode() if offered else f"{random.getrandbits(128):032x}"

    @property
    def has_started(self) -> bool:
        return self.status != CLIENT_CLOSED

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    async def send(self, message: Message) -> None:
        """Sends a part of the response, its headers with those of every response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = dict(message["headers"])
            self.media_type = given.get(b"content-type", b"").decode("latin-1")
            added: Iterable[tuple[bytes, bytes]] = SECURITY_HEADERS.items()
            if not given.keys().isdisjoint(SECURITY_HEADERS):
                added = [header for header in added if header[0] not in given]
            identifier = (b"x-request-id", self.identifier.encode())
            message = {**message, "headers": [*message["headers"], *added, identifier]}
        elif not message.get("more_body", False):
            self.is_complete = True
            # Before the client has the whole answer, since it may send its next request at once.
            self.release()
        await self._send(message)

    def release(self) -> None:
        """Ends the request for the limits of its key. The route may have found a key in the body."""
        admission: Admission | None = self.state.get("admission")
        if admission is not None:
            admission.release()


@dataclass(eq=False)
class ServiceMiddleware:
    """The layer. `traces` make a span for each request but probes.

    `paths` may be labels if a request was rejected before it reached the router. Requests of the paths `key_in_body`
    may have the key in their body: their route demands it. Pages of the `origins` may change something here, as may
    those of this site. `*`: of any.
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
        # A slash at the end of a path means nothing.
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
            await self._admit(exchange, receive)
        except SlimseqError as error:
            await self._refuse(exchange, receive, answer_to(error, "the request cannot be answered"))
        except asyncio.CancelledError:
            # The server cancels running requests when the grace period of a shutdown is over.
            if exchange.has_started:
                if exchange.is_complete or not exchange.media_type.startswith(EventSourceResponse.media_type):
                    raise
                last = format_sse_event(event="error", data_str=problem_of(ShuttingDown()).model_dump_json())
                await exchange.send({"type": "http.response.body", "body": last, "more_body": False})
            await self._refuse(exchange, receive, ShuttingDown())
        except ENDINGS:
            raise
        except BaseException as error:
            logger.exception("unexpected exception")
            await self._refuse(exchange, receive, answer_to(error, "the request cannot be answered"))
        finally:
            self._record(exchange, span)

    async def _refuse(self, exchange: Exchange, receive: Receive, error: SlimseqError) -> None:
        exchange.state["problem"] = problem_type(error).slug
        if not exchange.has_started:
            await problem_response(error)(exchange.scope, receive, exchange.send)

    async def _admit(self, exchange: Exchange, receive: Receive) -> None:
        """Lets a request in, before its body is read, and counts it against the limits of its key."""
        path, caller = exchange.scope["path"], NOBODY
        if self.hosts and path not in PROBES:
            self.hosts.check(exchange.header(b"host"))
        if b"sec-fetch-site" in exchange.headers or b"origin" in exchange.headers:
            self._check_site(exchange)
        if path not in OPEN_PATHS and not path.startswith(OPEN_PREFIXES):
            caller = self.keys.by_header(exchange.header(b"authorization"), exchange.address)
            if caller is NOBODY and path not in self.key_in_body:
                raise Unauthenticated
        admission = exchange.state["admission"] = Admission(caller, self.usage)
        try:
            await admission.request()
            if exchange.scope["method"] in METHODS_WITH_BODY:
                await self._read_and_run(exchange, receive)
            else:
                await self.app(exchange.routed, receive, exchange.send)
        finally:
            exchange.release()

    def _check_site(self, exchange: Exchange) -> None:
        """Refuses what a browser sends for a page of another site, as `CrossOriginProtection` of Go's net/http does."""
        site, origin = exchange.header(b"sec-fetch-site"), exchange.header(b"origin")
        is_own = site in ("same-origin", "none") if site else origin.endswith(f"://{exchange.header(b'host')}")
        if exchange.scope["method"] in UNSAFE_METHODS and not is_own and self.origins.isdisjoint({origin, "*"}):
            sender = origin or "another site"
            raise Forbidden(f"pages of {sender} may not change anything here, unless SLIMSEQ_CORS_ORIGINS lists it")

    async def _read_and_run(self, exchange: Exchange, receive: Receive) -> None:
        """Reads the body, and runs the route while it watches the connection.

        A client that disconnects cancels its route, and with it the queued work of its request.
        """
        path, state = exchange.scope["path"], exchange.state
        pieces = await self.bodies.read(path, exchange.headers, receive, has_arrived="has_arrived" in state)
        if pieces is None:
            return
        length = sum(map(len, pieces))
        pieces.reverse()
        running = asyncio.current_task()
        is_over = has_left = False

        def leave(_: object) -> None:
            nonlocal has_left
            # The server also reports a disconnect after a complete response: then the route is not cancelled.
            if running and not is_over and not exchange.is_complete:
                has_left = True
                running.cancel()

        async def receive_piece() -> Message:
            if pieces:
                piece = pieces.pop()
                if pieces:
                    # Each piece takes a while to parse. Other requests run in between.
                    await asyncio.sleep(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
            await asyncio.wait({left})
            return {"type": "http.disconnect"}

        left: asyncio.Future[None] = state.get("left") or asyncio.ensure_future(_disconnect(receive))
        left.add_done_callback(leave)
        try:
            await self.app(exchange.scope, receive_piece, exchange.send)
        except asyncio.CancelledError:
            if not has_left or not running or running.uncancel():
                raise
        finally:
            is_over = True
            left.remove_done_callback(leave)
            left.cancel()
            self.bodies.release(length)

    def _record(self, exchange: Exchange, span: Span | None) -> None:
        """Counts, times and logs a request once. Labels are route templates, so that their number is bounded."""
        seconds = time.perf_counter() - exchange.started
        scope, state, status = exchange.scope, exchange.state, exchange.status
        if found := exchange.routed.get("route"):
            route = exchange.routed.get("root_path", "")[exchange.mounted_at :] + found.path
        else:
            route = scope["path"] if scope["path"] in self.paths else "unmatched"
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


async def _disconnect(receive: Receive) -> None:
    """Waits for the disconnect of a client, where `slimseq.app.http.protocol` is not the server."""
    while (await receive())["type"] != "http.disconnect":
        pass
