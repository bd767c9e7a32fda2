"""The error handler of the service: every error becomes an `application/problem+json` response here.

It wraps the router and the middleware that reads bodies. FastAPI's own exceptions reach it as errors of ours.
"""

import asyncio
import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.errors import (
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    ShuttingDown,
)
from slimseq.app.http.problems import problem_of, problem_response, problem_type
from slimseq.app.http.validation import describe
from slimseq.models_store.errors import SlimseqError

logger = logging.getLogger(__name__)


class FailureMiddleware:
    """Answers errors with problems. The text of an unexpected exception is logged and not sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started: Message | None = None
        is_complete = False

        async def observed_send(message: Message) -> None:
            nonlocal started, is_complete
            if message["type"] == "http.response.start":
                started = message
            else:
                is_complete = not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, observed_send)
            return
        except SlimseqError as raised:
            error = raised
        except asyncio.CancelledError:
            # The server cancels running requests when the grace period of a shutdown is over. `DisconnectMiddleware`
            # handles clients that disconnect, so they do not get here.
            error = ShuttingDown()
            if started is not None:
                if is_complete or not _is_event_stream(started):
                    raise
                last = format_sse_event(event="error", data_str=problem_of(error).model_dump_json())
                await send({"type": "http.response.body", "body": last, "more_body": False})
        except Exception:
            logger.exception("unexpected exception")
            error = InternalError()
        scope["state"]["problem"] = problem_type(error).slug
        if started is None:
            await problem_response(error)(scope, receive, send)


def translate_exceptions(app: FastAPI) -> None:
    """Makes FastAPI raise errors of ours in place of its own exceptions, so that `FailureMiddleware` answers them."""

    async def raise_ours(request: Request, error: Exception) -> Response:
        raise _translated(request, error) from error

    for kind in (RequestValidationError, HTTPException):
        app.add_exception_handler(kind, raise_ours)


def _translated(request: Request, error: Exception) -> Exception:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return MalformedBody(f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}")
        return InvalidRequest(describe(error.errors()))
    if not isinstance(error, HTTPException):
        return error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(request.method, request.url.path, _allowed(request, error))
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(f"there is nothing at {request.url.path}; /docs lists the endpoints")
    return MalformedBody("the body cannot be parsed as JSON; it may be nested too deeply or hold too long a number")


def _allowed(request: Request, error: HTTPException) -> str:
    """Returns the methods of a path. Starlette names those of one of its routes."""
    paths, template = request.app.openapi()["paths"], getattr(request.scope.get("route"), "path", "")
    documented = paths.get(request.scope["path"]) or paths.get(template, {})
    return ", ".join(method.upper() for method in documented) or (error.headers or {}).get("Allow", "other methods")


def _is_event_stream(started: Message) -> bool:
    return Headers(raw=started["headers"]).get("content-type", "").startswith(EventSourceResponse.media_type)
