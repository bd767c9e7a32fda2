"""Counts, times and logs each request once. Labels are route templates, so that their number is bounded."""

import contextlib
import logging
import time
from collections.abc import Collection

from asgi_correlation_id import correlation_id
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.identity.limits import Admission
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.observability.traces import RequestSpan, Traces

PROBES = frozenset({"/health", "/healthz", "/readyz", "/metrics"})  # Requested every few seconds by monitoring.
CLIENT_CLOSED = 499  # nginx's status for a client that disconnected before the response.

logger = logging.getLogger(__name__)


class ObservationMiddleware:
    """Records the status and duration of a request."""

    def __init__(
        self, app: ASGIApp, metrics: ServiceMetrics, paths: Collection[str] = (), traces: Traces | None = None
    ) -> None:
        """Wraps an ASGI application.

        Args:
            app: the application.
            metrics: counts requests.
            paths: paths that may be labels if a request was rejected before it reached the router.
            traces: makes a span for each request but probes. None: traces are off.
        """
        self.app = app
        self._paths = frozenset(paths)
        self._metrics = metrics
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = CLIENT_CLOSED
        started = time.perf_counter()

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope.setdefault("state", {})
        with contextlib.ExitStack() as traced:
            span: RequestSpan | None = None
            if self._traces and scope["path"] not in PROBES:
                span = traced.enter_context(self._traces.request(_method(scope), Headers(scope=scope)))
            try:
                await self.app(scope, receive, observed_send)
            finally:
                self._record(scope, status, time.perf_counter() - started, span)

    def _record(self, scope: Scope, status: int, seconds: float, span: RequestSpan | None) -> None:
        fixed = scope["path"] if scope["path"] in self._paths else "unmatched"
        route = str(getattr(scope.get("route"), "path", fixed))
        method = _method(scope)
        problem = scope["state"].get("problem")
        self._metrics.request_ended(method, route, status, seconds, problem)
        if span:
            span.answered(method, route, status, problem, correlation_id.get())
        admission: Admission | None = scope["state"].get("admission")
        logger.log(
            logging.DEBUG if route in PROBES and status < 400 else logging.INFO,
            "request",
            extra={
                "method": scope["method"],
                "path": scope["path"],
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 3),
                "client": scope["client"][0] if scope.get("client") else None,
                **({"key": admission.caller.identifier} if admission and admission.caller.identifier else {}),
                **({"problem": problem} if problem else {}),
            },
        )


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
