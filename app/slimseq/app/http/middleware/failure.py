"""Answers for errors that no route's handler saw: refusals of the layers below, and unexpected exceptions."""

import asyncio
import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.errors import InternalError, ShuttingDown
from slimseq.app.http.problems import problem_of, problem_response, slug_of
from slimseq.app.serving.events import MEDIA_TYPE, event
from slimseq.models_store.errors import SlimseqError

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
        started: Message | None = None
        is_whole = False

        async def send_and_note(message: Message) -> None:
            nonlocal started, is_whole
            if message["type"] == "http.response.start":
                started = message
            else:
                is_whole = not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
            return
        except SlimseqError as error:
            answer = error
        except asyncio.CancelledError:
            # Whoever serves cancels what still runs at the end of the shutdown's grace. A client that left is no such
            # case: the layer below ends its route in peace.
            answer = ShuttingDown()
            if started is not None:
                if is_whole or not _is_event_stream(started):
                    raise
                last = event("error", problem_of(answer).model_dump()).encode()
                await send({"type": "http.response.body", "body": last, "more_body": False})
        except Exception:
            logger.exception("unexpected exception")
            answer = InternalError()
        scope["state"]["problem"] = slug_of(answer)
        if started is None:
            await problem_response(answer)(scope, receive, send)


def _is_event_stream(started: Message) -> bool:
    return Headers(raw=started["headers"]).get("content-type", "").startswith(MEDIA_TYPE)
