"""The errors of the service, each with its HTTP status. `slimseq.app.http.problems` has those of the lower rooms."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from slimseq.models_store.errors import SlimseqError


class ServiceError(SlimseqError):
    """An error that is answered with a problem. The problem's slug and title follow from the name of the class.

    Clients compare with the slug: to rename a class is to change the API.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init_subclass__(cls) -> None:
        if ServiceError in cls.__bases__:
            words = re.findall("[A-Z][a-z]+", cls.__name__)
            cls.slug = "-".join(words).lower()
            cls.title = vars(cls).get("title", " ".join(words).capitalize())


class InternalError(ServiceError):
    """Raised in place of an unexpected exception, whose text is only logged."""

    status = 500

    def __init__(self) -> None:
        super().__init__("unexpected error in the service; its log has details under this request id")


class InvalidRequest(ServiceError):
    """Raised when a body, query or path is invalid. Names the place and the reason."""

    status = 422


class MalformedBody(ServiceError):
    """Raised when a body is not JSON in UTF-8. Names the position."""

    status = 422


class BodyTooComplex(ServiceError):
    """Raised while a body is read, once it has more values than any request of the API needs."""

    status = 422

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the body has more than {limit} commas, colons and opening brackets outside of strings, the "
            "limit of a request; send fewer texts or pairs"
        )


class RequestTimeout(ServiceError):
    """Raised when a client does not send all headers, or the whole body, in time."""

    status = 408

    def __init__(self, part: str, seconds: float) -> None:
        super().__init__(f"{part} did not arrive within {seconds:g} s")


class MalformedRequest(ServiceError):
    """Raised when the data of a connection is not HTTP."""

    status = 400

    def __init__(self, reason: str = "") -> None:
        super().__init__(f"the connection's data is not a valid HTTP/1.1 request{f': {reason}' if reason else ''}")


class HeadersTooLarge(ServiceError):
    """Raised when the request line and headers, or the trailers of a body, exceed the limit."""

    status = 431

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request line and headers are larger than the limit of {limit} bytes")


class TooManyConnections(ServiceError):
    """Raised when a client connects while every allowed connection has a request in progress."""

    status = 503

    def __init__(self, limit: int) -> None:
        super().__init__(f"the limit of {limit} connections is reached; retry later")


class UnfitRuntime(ServiceError):
    """Raised when a request names a runtime that cannot load the variant here. Names those that can."""

    status = 422
    title = "Runtime cannot open the variant"


class NotFound(ServiceError):
    """Raised when a path has no endpoint."""

    status = 404


class MethodNotAllowed(ServiceError):
    """Raised when an endpoint does not have the method."""

    status = 405

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"{path} does not allow {method}; it allows {allowed}")
        self.headers = {"Allow": allowed}


class NoVariantRetains(ServiceError):
    """Raised when no variant has the requested retention. Lists the retention of each."""

    status = 404
    title = "No variant retains enough"

    def __init__(self, task: str, wanted: float, retentions: Sequence[tuple[str, float | None]]) -> None:
        kept = ", ".join(
            f"{name} {'is unmeasured' if value is None else f'keeps {value:.4f}'}" for name, value in retentions
        )
        super().__init__(
            f"no {task} variant that can serve keeps {wanted:g} of its reference: {kept or 'there is none'}"
        )


class NoVariantFits(ServiceError):
    """Raised when no variant is within the limits of a request. Says what each variant has."""

    status = 404
    title = "No variant is within the limits"

    def __init__(self, task: str, limits: str, variants: Sequence[str]) -> None:
        super().__init__(
            f"no {task} variant that can serve has {limits}; there is {'; '.join(variants) or 'no measured one'}"
        )


class UnknownEvaluation(ServiceError):
    """Raised when there is no evaluation with an id, or it was deleted because it is old."""

    status = 404

    def __init__(self, identifier: str) -> None:
        super().__init__(f"there is no evaluation {identifier!r}; old evaluations are deleted")


class EvaluationRuns(ServiceError):
    """Raised when something is done to an evaluation that has to end first."""

    status = 409
    title = "Evaluation has not ended"

    def __init__(self, identifier: str) -> None:
        super().__init__(f"evaluation {identifier} has not ended; cancel it first, which deletes its texts")


class EvaluationEnded(ServiceError):
    """Raised when the process of an evaluation ended without results. Names the reason, and what to do."""

    status = 500


class UnknownExperiment(ServiceError):
    """Raised when there is no experiment with an id."""

    status = 404

    def __init__(self, identifier: str) -> None:
        super().__init__(f"there is no experiment {identifier[:64]!r}")


class ExperimentRuns(ServiceError):
    """Raised when an experiment is started for a task that has a running one, or a running one is deleted. Names it."""

    status = 409
    title = "An experiment is running"

    def __init__(self, task: str, running: str) -> None:
        super().__init__(f"{task} has a running experiment, {running}: stop it first")


class TooManyExperiments(ServiceError):
    """Raised when an experiment is started and there are as many as are kept."""

    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"there are {limit} experiments, the limit; delete one that has stopped, with DELETE /experiments/ID"
        )


class UnknownResponse(ServiceError):
    """Raised when feedback names a response or a comparison that was not made here, or that is too old."""

    status = 404

    def __init__(self, judged: str) -> None:
        super().__init__(f"there is no {judged} to judge: its id is wrong or too old")


class AlreadyJudged(ServiceError):
    """Raised when a response was rated, or a comparison voted on, before."""

    status = 409

    def __init__(self, judged: str) -> None:
        super().__init__(f"{judged} was judged before; each is judged once")


class DatabaseUnavailable(ServiceError):
    """Raised when the database fails or takes too long. The log has the reason. Generation goes on without it."""

    status = 503

    def __init__(self) -> None:
        super().__init__(
            "the database of evaluations and experiments is not available, see the log of the service; retry later"
        )
        self.headers = {"Retry-After": "5"}


class PayloadTooLarge(ServiceError):
    """Raised when a body is larger than the limit."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than the limit of {limit} bytes")


class UnsupportedMediaType(ServiceError):
    """Raised when the declared media type of a body is not one that the path reads, or the body is compressed."""

    status = 415


class Overloaded(ServiceError):
    """Raised when the queue is full. The client may retry after `retry_after_seconds`."""

    status = 429

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(f"{detail}; retry in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
        self.headers = {"Retry-After": str(retry_after_seconds)}


class Unauthenticated(ServiceError):
    """Raised when a request has no key that is valid. It is not said whether it is missing, wrong or expired."""

    status = 401
    title = "No valid key"

    def __init__(self) -> None:
        super().__init__("send a valid key in the header `Authorization: Bearer KEY`")
        self.headers = {"WWW-Authenticate": 'Bearer realm="slimseq"'}


class Forbidden(ServiceError):
    """Raised when a request has not the right that it needs, such as that of operators."""

    status = 403


class KeyLimitReached(ServiceError):
    """Raised when a key has used what it may use. The client may retry after `retry_after_seconds`."""

    status = 429
    title = "The key's limit is reached"

    def __init__(self, limit: str, retry_after_seconds: int) -> None:
        super().__init__(f"this key is limited to {limit}; retry in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
        self.headers = {"Retry-After": str(retry_after_seconds)}


class AboveKeyLimit(ServiceError):
    """Raised when one request is larger than what its key may use in the whole period of a limit."""

    status = 413
    title = "Larger than the key allows"

    def __init__(self, limit: str, used: int) -> None:
        super().__init__(f"this key is limited to {limit}, and the request has {used}; send fewer at once")


class UntrustedHost(ServiceError):
    """Raised when the host that a request names is none of `SLIMSEQ_TRUSTED_HOSTS`."""

    status = 400

    def __init__(self) -> None:
        super().__init__("this service has another name; SLIMSEQ_TRUSTED_HOSTS lists its names")


class VariantInUse(ServiceError):
    """Raised when a variant cannot be unloaded because requests use it."""

    status = 409

    def __init__(self, artifact: str, requests: int) -> None:
        super().__init__(f"{artifact} is in use by {requests} request{'s' * (requests > 1)}; retry later")


class VariantTooLarge(ServiceError):
    """Raised when a variant needs more memory than the memory budget of all variants."""

    status = 503

    def __init__(self, artifact: str, needed: int, budget: int) -> None:
        super().__init__(
            f"{artifact} needs about {needed} bytes of memory; the budget is {budget}: raise SLIMSEQ_MAX_RESIDENT_BYTES"
        )


class NotReady(ServiceError):
    """Raised by the readiness probe while the service cannot serve. Names the reason."""

    status = 503


class ShuttingDown(ServiceError):
    """Raised for requests that arrive or wait while the service stops."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the service is stopping")


class DeadlineExceeded(ServiceError):
    """Raised when a request exceeds its deadline. Its waiting rows are dropped."""

    status = 504

    def __init__(self, seconds: float) -> None:
        super().__init__(f"deadline of {seconds:g} s exceeded; shorten the input or retry later")


class GenerationFailed(ServiceError):
    """Raised for the requests of a batch whose generation failed. Other batches continue."""

    status = 500

    def __init__(self, artifact: str) -> None:
        super().__init__(f"generation with {artifact} failed; see the log of the service")


class UnusableStore(ServiceError):
    """Raised at the start when the store is missing or empty, or is not the one of the deployment. Names the store."""

    status = 503


class UnusableDatabase(ServiceError):
    """Raised at the start when the URL of the database cannot be parsed."""

    status = 503

    def __init__(self) -> None:
        super().__init__("SLIMSEQ_DATABASE_URL cannot be parsed; write @ in a password as %40")


class UnusableKeysFile(SlimseqError):
    """Raised when a keys file is missing or malformed, or others than its owner can read it. Says which."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"keys file {path} {problem}")


class UnknownKey(SlimseqError):
    """Raised when a keys file has no key of a name."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        super().__init__(
            f"there is no key {name!r}; there {'is' if len(names) == 1 else 'are'} {', '.join(names) or 'none'}"
        )


def named_error(name: str, detail: str) -> SlimseqError:
    """Returns the error that another process raised: an instance of the class of that name, with that text."""
    kinds = (*SlimseqError.__subclasses__(), *ServiceError.__subclasses__())
    kind = next((each for each in kinds if each.__name__ == name), SlimseqError)
    return kind.__new__(kind, detail)
