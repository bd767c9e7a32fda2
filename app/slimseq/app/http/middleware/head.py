"""Answers HEAD wherever GET is answered. The server sends the headers of the answer alone."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadMiddleware:
    """Shows the router a GET. It is the innermost middleware, so that all others see HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}
        try:
            await self.app(inner, receive, send)
        finally:
            # Which route it was is a label of metrics.
            scope["route"] = inner.get("route")
