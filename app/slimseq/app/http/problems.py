"""Errors as RFC 9457 problems: one table from error class to HTTP status, type and title, and the responses made of it.

Routes and services raise. `slimseq.app.http.middleware.failure` is the handler that answers with a problem.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from asgi_correlation_id import correlation_id
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from slimseq.app import errors
from slimseq.evaluation.examples import DatasetUnavailable
from slimseq.models_store import errors as store_errors
from slimseq.models_store.errors import CannotWrite, SlimseqError, printable

MEDIA_TYPE = "application/problem+json"


class ProblemType(NamedTuple):
    """How an error class is answered. The `slug` is the end of the problem's `type`, which clients may compare with."""

    status: int
    slug: str
    title: str


PROBLEM_TYPES: Mapping[type[SlimseqError], ProblemType] = {
    SlimseqError: ProblemType(500, "internal-error", "Internal error"),
    # The connection and the body.
    errors.MalformedRequest: ProblemType(400, "malformed-request", "Malformed request"),
    errors.HeadersTimeout: ProblemType(408, "headers-timeout", "Headers timeout"),
    errors.BodyTimeout: ProblemType(408, "body-timeout", "Body timeout"),
    errors.PayloadTooLarge: ProblemType(413, "payload-too-large", "Payload too large"),
    errors.UnsupportedMediaType: ProblemType(415, "unsupported-media-type", "Unsupported media type"),
    errors.MalformedBody: ProblemType(422, "malformed-body", "Malformed body"),
    errors.BodyTooComplex: ProblemType(422, "body-too-complex", "Body too complex"),
    errors.HeadersTooLarge: ProblemType(431, "headers-too-large", "Headers too large"),
    errors.TooManyConnections: ProblemType(503, "too-many-connections", "Too many connections"),
    # The sender.
    errors.UntrustedHost: ProblemType(400, "untrusted-host", "Untrusted host"),
    errors.Unauthenticated: ProblemType(401, "unauthenticated", "No valid key"),
    errors.AboveKeyLimit: ProblemType(413, "above-key-limit", "Larger than the key allows"),
    errors.KeyLimitReached: ProblemType(429, "key-limit-reached", "The key's limit is reached"),
    # The request.
    errors.Forbidden: ProblemType(403, "forbidden", "Forbidden"),
    errors.NotFound: ProblemType(404, "not-found", "Not found"),
    errors.NoVariantFits: ProblemType(404, "no-variant-fits", "No variant is within the limits"),
    errors.NoVariantRetains: ProblemType(404, "no-variant-retains", "No variant retains enough"),
    errors.UnknownEvaluation: ProblemType(404, "unknown-evaluation", "Unknown evaluation"),
    errors.UnknownExperiment: ProblemType(404, "unknown-experiment", "Unknown experiment"),
    errors.UnknownResponse: ProblemType(404, "unknown-response", "Unknown response"),
    store_errors.UnknownVariant: ProblemType(404, "unknown-variant", "Unknown variant"),
    errors.MethodNotAllowed: ProblemType(405, "method-not-allowed", "Method not allowed"),
    errors.AlreadyJudged: ProblemType(409, "already-judged", "Already judged"),
    errors.ExperimentRuns: ProblemType(409, "experiment-runs", "An experiment is running"),
    errors.TooManyExperiments: ProblemType(409, "too-many-experiments", "Too many experiments"),
    errors.VariantInUse: ProblemType(409, "variant-in-use", "Variant in use"),
    errors.EvaluationRuns: ProblemType(409, "evaluation-runs", "Evaluation has not ended"),
    errors.InvalidRequest: ProblemType(422, "invalid-request", "Invalid request"),
    errors.UnsupportedLanguages: ProblemType(422, "unsupported-languages", "Unsupported languages"),
    errors.MarkupTooComplex: ProblemType(422, "markup-too-complex", "Markup is too complex"),
    errors.UnclosedMarkup: ProblemType(422, "unclosed-markup", "HTML is not closed"),
    errors.UnfitRuntime: ProblemType(422, "unfit-runtime", "Runtime cannot open the variant"),
    errors.TextTooLong: ProblemType(422, "text-too-long", "Input too long"),
    store_errors.InputTooLong: ProblemType(422, "input-too-long", "Input too long"),
    store_errors.InvalidOptions: ProblemType(422, "invalid-options", "Invalid generation options"),
    store_errors.UnsafeArtifactPath: ProblemType(422, "unsafe-artifact-path", "Unsafe name"),
    DatasetUnavailable: ProblemType(422, "dataset-unavailable", "Data set unavailable"),
    # The service and its artifacts.
    errors.Overloaded: ProblemType(429, "overloaded", "Overloaded"),
    errors.InternalError: ProblemType(500, "internal-error", "Internal error"),
    errors.EvaluationEnded: ProblemType(500, "evaluation-ended", "Evaluation ended"),
    errors.GenerationFailed: ProblemType(500, "generation-failed", "Generation failed"),
    errors.DatabaseUnavailable: ProblemType(503, "database-unavailable", "Database unavailable"),
    errors.NotReady: ProblemType(503, "not-ready", "Not ready"),
    errors.ShuttingDown: ProblemType(503, "shutting-down", "Shutting down"),
    errors.UnusableDatabase: ProblemType(503, "unusable-database", "Unusable database"),
    errors.UnusableStore: ProblemType(503, "unusable-store", "Unusable store"),
    errors.VariantTooLarge: ProblemType(503, "variant-too-large", "Variant too large"),
    store_errors.BadSignature: ProblemType(503, "bad-signature", "Artifact is not signed by a trusted key"),
    store_errors.CorruptArtifact: ProblemType(503, "corrupt-artifact", "Artifact failed verification"),
    store_errors.InvalidArtifact: ProblemType(503, "invalid-artifact", "Invalid artifact"),
    store_errors.RuntimeUnavailable: ProblemType(503, "runtime-unavailable", "Runtime unavailable"),
    store_errors.Unprepared: ProblemType(503, "unprepared", "Artifact is not prepared"),
    errors.DeadlineExceeded: ProblemType(504, "deadline-exceeded", "Deadline exceeded"),
    CannotWrite: ProblemType(507, "cannot-write", "Cannot write"),
}


class Problem(BaseModel):
    """An error as RFC 9457 defines it."""

    type: str = Field(description="Stable URI reference of the problem's type.", examples=["/problems/unknown-variant"])
    title: str = Field(description="Short name of the problem's type.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What went wrong in this request, where, and what to do.")
    request_id: str = Field(description="Id of the request, as in the `X-Request-ID` header and in the log.")


def problem_type(error: SlimseqError) -> ProblemType:
    """Returns the row of the table for an error: that of its class, else of the nearest base class."""
    return next(PROBLEM_TYPES[kind] for kind in type(error).__mro__ if kind in PROBLEM_TYPES)


def meaning(error: type[SlimseqError]) -> str:
    """Returns when a problem occurs: the first paragraph of the error class, without its "Raised"."""
    paragraph = " ".join((error.__doc__ or "").split("\n\n")[0].split()).removeprefix("Raised ")
    return paragraph[:1].upper() + paragraph[1:]


def problem_of(error: SlimseqError) -> Problem:
    """Describes an error for the client, with the id of the current request."""
    status, slug, title = problem_type(error)
    return Problem(
        type=f"/problems/{slug}",
        title=title,
        status=status,
        detail=printable(str(error)),
        request_id=correlation_id.get() or "",
    )


def problem_response(error: SlimseqError) -> JSONResponse:
    """Returns the response to a request that ended with an error."""
    problem = problem_of(error)
    return JSONResponse(problem.model_dump(), problem.status, headers_of(error), MEDIA_TYPE)


def headers_of(error: SlimseqError) -> dict[str, str]:
    """Returns the headers of the response to an error."""
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="slimseq"'}
    if isinstance(error, errors.DatabaseUnavailable | errors.KeyLimitReached | errors.Overloaded):
        return {"Retry-After": str(error.retry_after_seconds)}
    return {"Allow": error.allowed} if isinstance(error, errors.MethodNotAllowed) else {}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of a route that may answer with problems of these statuses."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}
