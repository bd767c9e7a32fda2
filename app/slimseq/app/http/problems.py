"""Errors as RFC 9457 problems, and the table of the errors of lower rooms, which know nothing of HTTP.

Routes and services raise. `slimseq.app.http.middleware` answers with a problem. `describe` says in words which fields
of a request are wrong.
"""

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, NamedTuple, get_args

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from slimseq.answers import Problem
from slimseq.app.errors import ServiceError
from slimseq.app.observability.logs import request_id
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.inference.text import errors as text_errors
from slimseq.models_store import errors as store_errors
from slimseq.models_store.errors import CannotWrite, SlimseqError, printable

MEDIA_TYPE = "application/problem+json"
# Places of a request beside its body, as pydantic's locations name them.
PARAMETERS = ("query", "path", "header", "cookie")
# Types of pydantic's errors whose messages come from our own checks.
OWN_MESSAGES = ("value_error", "slimseq_text")
# What OpenAPI says of a response with the header `Location`: the path of what the request made.
LOCATED = {"headers": {"Location": {"$ref": "#/components/headers/Location"}}}
MAX_SHOWN_CHARACTERS = 60
MAX_SHOWN_ERRORS = 5
# Our messages in place of pydantic's, by the type of its error.
MESSAGES = {
    "extra_forbidden": "is not a field here",
    "missing": "is required",
    "model_attributes_type": "the body must be a JSON object",
    "model_type": "must be a JSON object",
}


class ProblemType(NamedTuple):
    """How an error class is answered. The `slug` is the end of the problem's `type`, which clients may compare with."""

    status: int
    slug: str
    title: str


PROBLEM_TYPES: Mapping[type[SlimseqError], ProblemType] = {
    SlimseqError: ProblemType(500, "internal-error", "Internal error"),
    store_errors.UnknownVariant: ProblemType(404, "unknown-variant", "Unknown variant"),
    store_errors.InvalidOptions: ProblemType(422, "invalid-options", "Invalid generation options"),
    store_errors.UnsafeArtifactPath: ProblemType(422, "unsafe-artifact-path", "Unsafe name"),
    DatasetUnavailable: ProblemType(422, "dataset-unavailable", "Data set unavailable"),
    text_errors.InvalidPrompt: ProblemType(422, "invalid-request", "Invalid request"),
    text_errors.UnsupportedLanguages: ProblemType(422, "unsupported-languages", "Unsupported languages"),
    text_errors.UnclosedMarkup: ProblemType(422, "unclosed-markup", "HTML is not closed"),
    text_errors.MarkupTooComplex: ProblemType(422, "markup-too-complex", "Markup is too complex"),
    text_errors.TextTooLong: ProblemType(422, "text-too-long", "Input too long"),
    store_errors.BadSignature: ProblemType(503, "bad-signature", "Artifact is not signed by a trusted key"),
    store_errors.CorruptArtifact: ProblemType(503, "corrupt-artifact", "Artifact failed verification"),
    store_errors.InvalidArtifact: ProblemType(503, "invalid-artifact", "Invalid artifact"),
    store_errors.RuntimeUnavailable: ProblemType(503, "runtime-unavailable", "Runtime unavailable"),
    store_errors.Unprepared: ProblemType(503, "unprepared", "Artifact is not prepared"),
    CannotWrite: ProblemType(507, "cannot-write", "Cannot write"),
    **{kind: ProblemType(kind.status, kind.slug, kind.title) for kind in ServiceError.__subclasses__()},
}


def problem_type(error: SlimseqError) -> ProblemType:
    """Returns the row of the table for an error: of its class, else of the nearest base class in the table."""
    for kind in type(error).__mro__:
        if kind in PROBLEM_TYPES:
            return PROBLEM_TYPES[kind]
    raise KeyError(type(error))


def meaning(error: type[SlimseqError]) -> str:
    """Returns when a problem occurs: the first paragraph of the error's docstring, without the word "Raised"."""
    first_paragraph = (error.__doc__ or "").split("\n\n")[0]
    on_one_line = " ".join(first_paragraph.split()).removeprefix("Raised ")
    return on_one_line[:1].upper() + on_one_line[1:]


def problem_of(error: SlimseqError) -> Problem:
    status, slug, title = problem_type(error)
    return Problem(
        type=f"/problems/{slug}",
        title=title,
        status=status,
        detail=printable(str(error)),
        request_id=request_id.get(),
    )


def problem_response(error: SlimseqError) -> JSONResponse:
    problem = problem_of(error)
    return JSONResponse(problem.model_dump(), problem.status, headers_of(error), MEDIA_TYPE)


def raw_response(error: SlimseqError) -> bytes:
    """Returns the bytes of an HTTP/1.1 response with a new request id, for what never reaches the application."""
    identifier = uuid.uuid4().hex
    request_id.set(identifier)
    problem = problem_of(error)
    body = problem.model_dump_json().encode()
    head = (
        f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nx-request-id: {identifier}\r\n"
        "connection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.status] + head.encode() + body


def headers_of(error: SlimseqError) -> Mapping[str, str]:
    return error.headers if isinstance(error, ServiceError) else {}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of a route, of the statuses that `slimseq.app.http.openapi` does not add to every one."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def describe(errors: Sequence[Mapping[str, Any]], body: Any = None, query: Iterable[str] = ()) -> str:
    """Returns which fields are wrong and how, from pydantic's list of errors.

    For an unknown field it says what the client may have meant: a field of the type `body`, or a parameter of the
    `query` that was sent in the body.
    """
    # Members of a union may have equal texts. As keys, they are there once.
    described = {f"{_place(error['loc'])}{_message(error)}": error for error in errors}
    hints = [_hint(error, body, query) for error in list(described.values())[:MAX_SHOWN_ERRORS]]
    shown = [text + meant for text, (meant, _) in zip(described, hints, strict=False)]
    hidden = len(described) - len(shown)
    more = f"; and {hidden} more" if hidden else ""
    known_fields = "".join(dict.fromkeys(fields for _, fields in hints))
    return "; ".join(shown) + more + known_fields


def _hint(error: Mapping[str, Any], body: Any, query: Iterable[str]) -> tuple[str, str]:
    """Returns what an unknown field may have meant, and which fields there are. Both are empty for other errors."""
    if error["type"] != "extra_forbidden":
        return "", ""
    # Numbers in a location are indices of lists.
    *place, name = [part for part in error["loc"] if isinstance(part, str)] or [""]
    fields = field_names(body, place[1:])
    parameters = [each for each in query if place == ["body"] and each not in fields]
    matches = get_close_matches(name[:MAX_SHOWN_CHARACTERS], [*parameters, *fields], 1)
    if matches and matches[0] in parameters:
        return f", but a query parameter: ?{matches[0]}=…", ""
    meant = f", but {matches[0]} is" if matches else ""
    return meant, f"; the fields are {', '.join(fields)}" if fields else ""


def field_names(annotation: Any, place: Sequence[str]) -> list[str]:
    """Returns the names of the fields at a place of a type: a model, or a union or list of them."""
    if not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
        names = []
        for member in get_args(annotation):
            names += field_names(member, place)
        return names
    if not place:
        return list(annotation.model_fields)
    field = annotation.model_fields.get(place[0])
    return field_names(field.annotation, place[1:]) if field else []


def _place(location: Sequence[str | int]) -> str:
    """Returns the start of a message: the path of a field such as `text[1]: `, or `query parameter variant: `."""
    first, *rest = location or ("",)
    if first not in ("body", *PARAMETERS):
        rest = [first, *rest]
    parts = [f"[{part}]" if isinstance(part, int) else f".{_shortened(part)}" for part in rest]
    path = "".join(parts).removeprefix(".")
    kind = f"{first} parameter " if first in PARAMETERS else ""
    return f"{kind}{path}: " if path else ""


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_SHOWN_CHARACTERS else f"{name[:MAX_SHOWN_CHARACTERS]}…"


def _message(error: Mapping[str, Any]) -> str:
    kind = error["type"]
    given = error.get("input")
    context = error.get("ctx", {})
    if kind == "missing" and tuple(error["loc"]) == ("body",):
        return "a JSON body is required"
    if kind in MESSAGES:
        return MESSAGES[kind]
    if kind == "too_short":
        needed = f"needs at least {context['min_length']}, not {context['actual_length']}"
        if error["loc"][0] != "query":
            return needed
        # A client may have sent one value with commas.
        name = error["loc"][1]
        return f"{needed}; repeat it: {name}=…&{name}=…"
    if kind == "too_long":
        return f"takes at most {context['max_length']}, not {context['actual_length']}"
    message = re.sub(r"^(Value error, |Input |String |List )", "", str(error["msg"]))
    if kind in OWN_MESSAGES or not isinstance(given, bool | int | float | str):
        return message
    shown = json.dumps(given, ensure_ascii=False)
    return f"{message}, not {shown}" if len(shown) <= MAX_SHOWN_CHARACTERS else message
