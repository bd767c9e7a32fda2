"""Counts, times and logs every request once, by its route's template so that labels stay bounded."""

import logging
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.observability.metrics import ServiceMetrics

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds by machines
CLIENT_CLOSED = 499  # nginx's status for a client that left before its answer

logger = logging.getLogger(__name__)


class ObservationMiddleware:
    """Records a request's status and duration, whoever answers it below."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, paths: Collection[str] = ()) -> None:
        """Wraps the layers below.

        Args:
            app: the layers below.
            metrics: counts requests.
            paths: fixed paths that may be labels even where a layer below refused before the route was found.
        """
        self.app = app
        self._paths = frozenset(paths)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = CLIENT_CLOSED
        started = time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope.setdefault("state", {})
        try:
            await self.app(scope, receive, send_and_note)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        fixed = scope["path"] if scope["path"] in self._paths else "unmatched"
        route = str(getattr(scope.get("route"), "path", fixed))
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
        problem = scope["state"].get("problem")
        self._metrics.request_ended(method, route, status, seconds, problem)
        logger.log(
            logging.DEBUG if route in PROBES and status < 400 else logging.INFO,
            "request",
            extra={
                "method": scope["method"],
                "path": scope["path"],
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 3),
                **({"problem": problem} if problem else {}),
            },
        )
