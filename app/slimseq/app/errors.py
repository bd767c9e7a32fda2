"""The errors of the service, each with its HTTP status.

The lower packages know nothing of HTTP: `slimseq.app.http.problems` has the statuses of their errors, and answers all
errors with problem+json.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from slimseq.models_store.errors import SlimseqError


class ServiceError(SlimseqError):
    """An error that is answered with a problem, as RFC 9457 defines it.

    The name of the class makes the problem's slug and title: `NotFound` has the slug `not-found`. Clients compare with
    the slug, so to rename a class is to change the API.

    `text` is a format with a place for each argument of the constructor. The last argument of an error with the status
    429 is the number of seconds after which to retry.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    text: ClassVar[str] = "{}"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, *values: object) -> None:
        super().__init__(self.text.format(*values))
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            self.headers = {"Retry-After": str(values[-1])}

    def __init_subclass__(cls, status: int = 500, title: str = "") -> None:
        # A subclass of such a class keeps its slug, status and title.
        if ServiceError in cls.__bases__:
            words = re.findall("[A-Z][a-z]+", cls.__name__)
            cls.slug = "-".join(words).lower()
            cls.status, cls.title = status, title or " ".join(words).capitalize()


class InternalError(ServiceError):
    """Raised in place of an unexpected exception, whose text is only logged."""

    text = "unexpected error in the service; its log has details under this request id"


class InvalidRequest(ServiceError, status=422):
    """Raised when a body, query or path is invalid. Names the place and the reason."""


class MalformedBody(ServiceError, status=422):
    """Raised when a body is not JSON in UTF-8. Names the position."""


class BodyTooComplex(ServiceError, status=422):
    """Raised while a body is read, once it has more values than any request of the API needs."""

    text = (
        "the body has more than {} commas, colons and opening brackets outside of strings, the limit of a request; "
        "send fewer texts, pairs or terms"
    )


class RequestTimeout(ServiceError, status=408):
    """Raised when a client does not send all headers, or the whole body, in time."""

    text = "{} did not arrive within {:g} s"


class MalformedRequest(ServiceError, status=400):
    """Raised when the data of a connection is not HTTP."""

    text = "the connection's data is not a valid HTTP/1.1 request{}"


class HeadersTooLarge(ServiceError, status=431):
    """Raised when the request line and headers, or the trailers of a body, exceed the limit."""

    text = "the request line and headers are larger than the limit of {} bytes"


class TooManyConnections(ServiceError, status=503):
    """Raised when a client connects while every allowed connection has a request in progress."""

    text = "the limit of {} connections is reached; retry later"


class UnfitRuntime(ServiceError, status=422, title="Runtime cannot open the variant"):
    """Raised when a request names a runtime that cannot load the variant here. Names those that can."""


class NotFound(ServiceError, status=404):
    """Raised when there is nothing at a path, or nothing with an id: it was never there, or was deleted. Names it."""


class Conflict(ServiceError, status=409):
    """Raised when the state of something does not allow what was requested. Says why, and what to do first."""


class MethodNotAllowed(ServiceError, status=405):
    """Raised when an endpoint does not have the method."""

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"{path} does not allow {method}; it allows {allowed}")
        self.headers = {"Allow": allowed}


class NoVariantFits(ServiceError, status=404, title="No variant is within the limits"):
    """Raised when no variant is within the limits of a request. Says what each variant has."""

    text = "no {} variant that can serve has {}; there is {}"


class EvaluationEnded(ServiceError):
    """Raised when the process of an evaluation ended without results. Names the reason, and what to do."""


class DatabaseUnavailable(ServiceError, status=503):
    """Raised when the database fails or takes too long. The log has the reason. Generation goes on without it."""

    text = "the database of evaluations and experiments is not available, see the log of the service; retry later"
    headers = MappingProxyType({"Retry-After": "5"})


class PayloadTooLarge(ServiceError, status=413):
    """Raised when a body is larger than the limit."""

    text = "the body is larger than the limit of {} bytes"


class UnsupportedMediaType(ServiceError, status=415):
    """Raised when the declared media type of a body is not one that the path reads, or the body is compressed."""


class Overloaded(ServiceError, status=429):
    """Raised when the queue is full."""

    text = "{}; retry in {} s"


class Unauthenticated(ServiceError, status=401, title="No valid key"):
    """Raised when a request has no key that is valid. It is not said whether it is missing, wrong or expired."""

    text = "send a valid key in the header `Authorization: Bearer KEY`"
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="slimseq"'})


class Forbidden(ServiceError, status=403):
    """Raised when a request has not the right that it needs, such as that of operators."""


class KeyLimitReached(ServiceError, status=429, title="The key's limit is reached"):
    """Raised when a key has used what it may use."""

    text = "this key is limited to {}; retry in {} s"


class AboveKeyLimit(ServiceError, status=413, title="Larger than the key allows"):
    """Raised when one request is larger than what its key may use in the whole period of a limit."""

    text = "this key is limited to {}, and the request has {}; send fewer at once"


class UntrustedHost(ServiceError, status=400):
    """Raised when the host that a request names is none of `SLIMSEQ_TRUSTED_HOSTS`."""

    text = "this service has another name; SLIMSEQ_TRUSTED_HOSTS lists its names"


class VariantTooLarge(ServiceError, status=503):
    """Raised when a variant needs more memory than the memory budget of all variants."""

    text = "{} needs about {} bytes of memory; the budget is {}: raise SLIMSEQ_MAX_RESIDENT_BYTES"


class NotReady(ServiceError, status=503):
    """Raised by the readiness probe while the service cannot serve. Names the reason."""


class ShuttingDown(ServiceError, status=503):
    """Raised for requests that arrive or wait while the service stops."""

    text = "the service is stopping"


class DeadlineExceeded(ServiceError, status=504):
    """Raised when a request exceeds its deadline. Its waiting rows are dropped."""

    text = "deadline of {:g} s exceeded; shorten the input or retry later"


class GenerationFailed(ServiceError):
    """Raised for the requests of a batch whose generation failed. Other batches continue."""

    text = "generation with {} failed; see the log of the service"


class VariantFailed(ServiceError, status=503):
    """Raised when a worker of a variant has ended because of an error. The next request loads the variant anew."""

    text = "{} has failed, see the log of the service, and is loaded anew; retry"
    headers = MappingProxyType({"Retry-After": "1"})


class ResourcesExhausted(ServiceError, status=503, title="Memory, threads or file descriptors ran out"):
    """Raised when memory, threads or file descriptors run out while a variant is loaded or a request is answered."""

    text = "{}: {} ran out; retry later, or give the service more"
    headers = MappingProxyType({"Retry-After": "5"})


class UnusableStore(ServiceError, status=503):
    """Raised at the start when the store is missing or empty, or is not the one of the deployment. Names the store."""


class UnusableKeysFile(SlimseqError):
    """Raised when a keys file is missing or malformed, lacks a key, or others than its owner can read it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"keys file {path} {problem}")


def named_error(name: str, detail: str) -> SlimseqError:
    """Returns the error that another process raised: an instance of the class of that name, with that text."""
    kinds = (*SlimseqError.__subclasses__(), *ServiceError.__subclasses__())
    kind = next((each for each in kinds if each.__name__ == name), SlimseqError)
    # Not `kind(detail)`: the constructor would put `detail` into its format.
    return kind.__new__(kind, detail)
