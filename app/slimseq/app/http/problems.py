"""Turns every error into an RFC 9457 problem: the store's and the service's own, FastAPI's, and unexpected ones."""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from slimseq.app.errors import InvalidRequest, MalformedBody, MethodNotAllowed, NotFound, Overloaded
from slimseq.app.http.request_id import current_request_id
from slimseq.models_store.errors import SlimseqError

MEDIA_TYPE = "application/problem+json"
PARAMETERS = ("query", "path", "header", "cookie")
OWN_WORDS = ("value_error", "slimseq_text")
LONGEST_SHOWN = 60
FIXED_WORDS = {
    "extra_forbidden": "is not a field here",
    "missing": "is required",
    "model_attributes_type": "the body must be a JSON object",
    "model_type": "must be a JSON object",
}


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    type: str = Field(
        description="Stable URI reference of the kind of problem.", examples=["/problems/unknown-variant"]
    )
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong this time, where, and what to do.")
    request_id: str = Field(description="Id of the request, also in the `X-Request-ID` header and the log.")


def problem_of(error: SlimseqError) -> Problem:
    """Describes an error for the client, under the current request's id."""
    return Problem(
        type=f"/problems/{slug_of(error)}",
        title=error.title,
        status=error.status,
        # What a client sent may hold half a surrogate pair, which no answer can carry.
        detail=str(error).encode("utf-8", "backslashreplace").decode(),
        request_id=current_request_id(),
    )


def slug_of(error: SlimseqError) -> str:
    """Returns the stable name of an error's class, such as `unknown-variant`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def problem_response(error: SlimseqError) -> JSONResponse:
    """Answers with an error."""
    headers = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    return JSONResponse(problem_of(error).model_dump(), error.status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of a route that may answer with these problems."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def install_problems(app: FastAPI) -> None:
    """Registers the handlers for what routes raise; the rest is `slimseq.app.http.middleware.failure`'s."""

    def answer(request: Request, error: Exception) -> JSONResponse:
        translated = _translated(request, error)
        request.state.problem = slug_of(translated)
        return problem_response(translated)

    for kind in (SlimseqError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _translated(request: Request, error: Exception) -> SlimseqError:
    if isinstance(error, SlimseqError):
        return error
    if isinstance(error, RequestValidationError):
        return _from_validation(error.errors())
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(request.method, request.url.path, (error.headers or {}).get("Allow", "other methods"))
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(f"there is nothing at {request.url.path}; /docs lists what there is")
    return MalformedBody("the body cannot be read as JSON; it may be nested too deeply or hold too long a number")


def _from_validation(errors: Sequence[Mapping[str, Any]]) -> SlimseqError:
    if errors[0]["type"] == "json_invalid":
        position = errors[0]["loc"][-1]
        return MalformedBody(f"the body is not JSON: {errors[0]['ctx']['error']} at character {position}")
    return InvalidRequest(describe(errors))


def describe(errors: Sequence[Mapping[str, Any]]) -> str:
    """Says in words which fields are wrong and how, from pydantic's list of errors."""
    said = list(dict.fromkeys(f"{_place(error['loc'])}{_words(error)}" for error in errors))
    shown = said[:5]
    return "; ".join(shown) + (f"; and {len(said) - 5} more" if len(said) > 5 else "")


def _place(location: Sequence[str | int]) -> str:
    first, *rest = location or ("",)
    if first not in ("body", *PARAMETERS):
        rest = [first, *rest]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest).removeprefix(".")
    kind = f"{first} parameter " if first in PARAMETERS else ""
    return f"{kind}{path}: " if path else ""


def _words(error: Mapping[str, Any]) -> str:
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "missing" and tuple(error["loc"]) == ("body",):
        return "a JSON body is required"
    if kind in FIXED_WORDS:
        return FIXED_WORDS[kind]
    if kind == "too_short":
        return f"needs at least {context['min_length']}, not {context['actual_length']}"
    if kind == "too_long":
        return f"takes at most {context['max_length']}, not {context['actual_length']}"
    message = re.sub(r"^(Value error, |Input |String |List )", "", str(error["msg"]))
    if kind in OWN_WORDS or not isinstance(given, bool | int | float | str):
        return message
    shown = json.dumps(given, ensure_ascii=False)
    return f"{message}, not {shown}" if len(shown) <= LONGEST_SHOWN else message
