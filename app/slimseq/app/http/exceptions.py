"""Translates exceptions of FastAPI and Starlette into the service's own errors.

`slimseq.app.http.middleware` answers with the problem of the error.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from slimseq.app.errors import InvalidRequest, MalformedBody, MethodNotAllowed, NotFound
from slimseq.app.http.body import MULTIPART
from slimseq.app.http.dependencies import query_parameters
from slimseq.app.http.problems import describe
from slimseq.models_store.errors import SlimseqError


def translate_exceptions(app: FastAPI) -> None:
    async def raise_own_error(request: Request, error: Any) -> Response:
        raise translated(request, error) from error

    for kind in (RequestValidationError, HTTPException):
        app.add_exception_handler(kind, raise_own_error)


def translated(request: Request, error: RequestValidationError | HTTPException) -> SlimseqError:
    """Returns the service's error that says what an exception of FastAPI or Starlette means for a request."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return MalformedBody(f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}")
        body = request.scope["route"].body_field
        return InvalidRequest(describe(error.errors(), body and body.field_info.annotation, query_parameters(request)))
    if error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(request.method, request.url.path, _allowed(request, error))
    if error.status_code == NotFound.status:
        return NotFound(f"there is nothing at {request.url.path}; /docs lists the endpoints")
    if request.headers.get("content-type", "").startswith(MULTIPART):
        return MalformedBody(f"the body is not a form that can be read: {error.detail}")
    return MalformedBody("the body cannot be parsed as JSON; it may be nested too deeply or hold too long a number")


def _allowed(request: Request, error: HTTPException) -> str:
    """Returns all methods of a path. A path may have several routes, and Starlette names the methods of one of them."""
    paths = request.app.openapi()["paths"]
    template = getattr(request.scope.get("route"), "path", "")
    documented = paths.get(request.scope["path"]) or paths.get(template, {})
    if documented:
        return ", ".join(method.upper() for method in documented)
    return (error.headers or {}).get("Allow", "other methods")
