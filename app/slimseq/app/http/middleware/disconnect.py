"""Stops the work for a client that left: its route is cancelled, and with it whatever waits in a queue for it."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class DisconnectMiddleware:
    """Runs the route beside a watch on the connection. Innermost: the body has been read when it starts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = await receive()
        waiting = [body]
        has_left = asyncio.Event()
        has_answered = False

        async def receive_body() -> Message:
            if waiting:
                return waiting.pop()
            await has_left.wait()
            return {"type": "http.disconnect"}

        async def send_and_note(message: Message) -> None:
            nonlocal has_answered
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                has_answered = True

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        handling = asyncio.ensure_future(self.app(scope, receive_body, send_and_note))
        watching = asyncio.ensure_future(watch())
        try:
            await asyncio.wait({handling, watching}, return_when=asyncio.FIRST_COMPLETED)
            # A server reports a disconnect too when its answer is complete: then the route may end in peace.
            if not handling.done() and not has_answered:
                has_left.set()
                handling.cancel()
            await asyncio.wait({handling})
        finally:
            watching.cancel()
            handling.cancel()
        if not handling.cancelled():
            handling.result()
