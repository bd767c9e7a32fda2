"""Answers for errors that no route's handler saw: refusals of the layers below, and unexpected exceptions."""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import InternalError, ShuttingDown
from app.problems import problem_response, slug_of
from models_store.errors import SlimseqError

logger = logging.getLogger(__name__)


class FailureMiddleware:
    """Turns an exception into a problem; an unexpected one is logged whole and told without its text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_started = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
            return
        except SlimseqError as error:
            answer = error
        except asyncio.CancelledError:
            # Whoever serves cancels what still runs at the end of the shutdown's grace. A client that left is no such
            # case: the layer below ends its route in peace.
            if has_started:
                raise
            answer = ShuttingDown()
        except Exception:
            logger.exception("unexpected exception")
            answer = InternalError()
        scope["state"]["problem"] = slug_of(answer)
        if not has_started:
            await problem_response(answer)(scope, receive, send)
