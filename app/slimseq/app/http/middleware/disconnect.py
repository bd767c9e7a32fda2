"""Cancels the route of a client that disconnects, and with it the queued work of its request."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class DisconnectMiddleware:
    """Runs the route while it watches the connection. It is the innermost middleware: the body was read before."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = await receive()
        waiting = [body]
        has_disconnected = asyncio.Event()
        has_responded = False
        is_over = False

        async def receive_body() -> Message:
            if waiting:
                return waiting.pop()
            await has_disconnected.wait()
            return {"type": "http.disconnect"}

        async def observed_send(message: Message) -> None:
            nonlocal has_responded
            if is_over:
                # The server cancelled the request, which is answered with an error.
                return
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                has_responded = True

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        handling = asyncio.ensure_future(self.app(scope, receive_body, observed_send))
        watching = asyncio.ensure_future(watch())
        try:
            await asyncio.wait({handling, watching}, return_when=asyncio.FIRST_COMPLETED)
            # The server also reports a disconnect after a complete response: then the route is not cancelled.
            if not handling.done() and not has_responded:
                has_disconnected.set()
                handling.cancel()
            await asyncio.wait({handling})
        finally:
            is_over = True
            watching.cancel()
            handling.cancel()
        if not handling.cancelled():
            handling.result()
