"""What can go wrong between a request and its answer, on top of the store's own errors.

Each class owns its HTTP status and title and says when it is raised; `slimseq.app.http.problems` turns any of them into
`application/problem+json`. Routes and services raise, they never build error responses.
"""

from collections.abc import Sequence

from slimseq.models_store.errors import SlimseqError


class InternalError(SlimseqError):
    """Raised in place of an unexpected exception, whose text stays in the log."""

    status = 500
    title = "Internal error"

    def __init__(self) -> None:
        super().__init__("something went wrong here; the service's log tells more under this request id")


class InvalidRequest(SlimseqError):
    """Raised when a body, query or path holds something that the service does not take. Says what and where."""

    status = 422
    title = "Invalid request"


class MalformedBody(SlimseqError):
    """Raised when a body is not JSON in UTF-8. Says where it stops being that."""

    status = 422
    title = "Malformed body"


class BodyTooComplex(SlimseqError):
    """Raised while a body is read, as soon as it holds more values than any request of the API may."""

    status = 422
    title = "Body too complex"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the body has more than {limit} commas, colons and opening brackets outside of strings, the most that any "
            "request needs; send fewer texts or pairs"
        )


class BodyTimeout(SlimseqError):
    """Raised when a client does not send its body to the end in time."""

    status = 408
    title = "Body timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the body did not arrive within {seconds:g} s")


class MalformedRequest(SlimseqError):
    """Raised when what arrives on a connection is not HTTP."""

    status = 400
    title = "Malformed request"

    def __init__(self) -> None:
        super().__init__("the connection's data is not a valid HTTP/1.1 request")


class HeadersTooLarge(SlimseqError):
    """Raised when a request's first line and headers, or a body's trailers, are larger than the service reads."""

    status = 431
    title = "Headers too large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the first line and headers are larger than {limit} bytes, the most that is read")


class HeadersTimeout(SlimseqError):
    """Raised when a client does not send its headers to the end in time."""

    status = 408
    title = "Headers timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the first line and headers did not arrive within {seconds:g} s")


class TooManyConnections(SlimseqError):
    """Raised when a client connects while as many requests are in progress as there may be connections."""

    status = 503
    title = "Too many connections"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} connections are open, the most that are allowed; retry later")


class UnsupportedLanguages(SlimseqError):
    """Raised when a translation is asked from or into a language that the variant was not made for."""

    status = 422
    title = "Unsupported languages"


class UnfitRuntime(SlimseqError):
    """Raised when a request names a runtime that cannot open the variant here. Says what would."""

    status = 422
    title = "Runtime cannot open the variant"


class TextTooLong(SlimseqError):
    """Raised when one of several texts does not fit the model and truncation was refused. Says which."""

    status = 422
    title = "Input too long"


class NotFound(SlimseqError):
    """Raised when a path leads nowhere."""

    status = 404
    title = "Not found"


class MethodNotAllowed(SlimseqError):
    """Raised when a path exists and the method does not."""

    status = 405
    title = "Method not allowed"

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"{path} does not take {method}; it takes {allowed}")
        self.allowed = allowed


class NoVariantRetains(SlimseqError):
    """Raised when no variant keeps as much quality as the client asks for. Says what each one keeps."""

    status = 404
    title = "No variant retains enough"

    def __init__(self, task: str, wanted: float, retentions: Sequence[tuple[str, float | None]]) -> None:
        kept = ", ".join(
            f"{name} {'is unmeasured' if value is None else f'keeps {value:.4f}'}" for name, value in retentions
        )
        super().__init__(
            f"no {task} variant that can serve keeps {wanted:g} of its reference: {kept or 'there is none'}"
        )


class UnknownEvaluation(SlimseqError):
    """Raised when an evaluation's id is of no job that is still remembered."""

    status = 404
    title = "Unknown evaluation"

    def __init__(self, identifier: str) -> None:
        super().__init__(f"there is no evaluation {identifier!r}; finished ones are forgotten after a while")


class EvaluationEnded(SlimseqError):
    """Raised when an evaluation's process ended before it had results. Says how, and what to do."""

    status = 500
    title = "Evaluation ended"


class PayloadTooLarge(SlimseqError):
    """Raised when a body is larger than the service reads."""

    status = 413
    title = "Payload too large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes, the most that is read")


class UnsupportedMediaType(SlimseqError):
    """Raised when a body is declared to be something else than plain JSON."""

    status = 415
    title = "Unsupported media type"


class Overloaded(SlimseqError):
    """Raised when the queue is full. `retry_after_seconds` says when there may be room."""

    status = 429
    title = "Overloaded"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(f"{detail}; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class Forbidden(SlimseqError):
    """Raised when an operator's call comes without the operator's token, or where none is set."""

    status = 403
    title = "Forbidden"


class VariantInUse(SlimseqError):
    """Raised when a variant is to be closed that requests are being answered with."""

    status = 409
    title = "Variant in use"

    def __init__(self, artifact: str, requests: int) -> None:
        super().__init__(f"{artifact} is in use by {requests} request{'s' * (requests > 1)}; try again later")


class VariantTooLarge(SlimseqError):
    """Raised when a variant takes more memory than all variants together may."""

    status = 503
    title = "Variant too large"

    def __init__(self, artifact: str, needed: int, budget: int) -> None:
        super().__init__(
            f"{artifact} takes about {needed} bytes of memory; {budget} are allowed: raise SLIMSEQ_MAX_RESIDENT_BYTES"
        )


class NotReady(SlimseqError):
    """Raised by the readiness probe while the service cannot serve. Says what it waits for."""

    status = 503
    title = "Not ready"


class ShuttingDown(SlimseqError):
    """Raised when work arrives, or is still queued, while the service stops."""

    status = 503
    title = "Shutting down"

    def __init__(self) -> None:
        super().__init__("the service is stopping")


class DeadlineExceeded(SlimseqError):
    """Raised when an answer was not there in time. Rows that still wait are dropped."""

    status = 504
    title = "Deadline exceeded"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s; send less text or ask again when it is quieter")


class GenerationFailed(SlimseqError):
    """Raised for every request of a batch whose generation broke; other batches go on."""

    status = 500
    title = "Generation failed"

    def __init__(self, artifact: str) -> None:
        super().__init__(f"{artifact} failed while it generated; the service's log tells why")


class UnusableStore(SlimseqError):
    """Raised at the start when there is nothing to serve. Says where it looked."""

    status = 503
    title = "Unusable store"
