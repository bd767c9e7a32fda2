"""The errors of the service, in addition to those of the store. `slimseq.app.http.problems` has their HTTP statuses."""

from collections.abc import Sequence
from pathlib import Path

from slimseq.models_store.errors import SlimseqError


class InternalError(SlimseqError):
    """Raised in place of an unexpected exception, whose text is only logged."""

    def __init__(self) -> None:
        super().__init__("unexpected error in the service; its log has details under this request id")


class InvalidRequest(SlimseqError):
    """Raised when a body, query or path is invalid. Names the place and the reason."""


class MalformedBody(SlimseqError):
    """Raised when a body is not JSON in UTF-8. Names the position."""


class BodyTooComplex(SlimseqError):
    """Raised while a body is read, once it has more values than any request of the API needs."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the body has more than {limit} commas, colons and opening brackets outside of strings, the "
            "limit of a request; send fewer texts or pairs"
        )


class BodyTimeout(SlimseqError):
    """Raised when a client does not send the whole body in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the body did not arrive within {seconds:g} s")


class MalformedRequest(SlimseqError):
    """Raised when the data of a connection is not HTTP."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(f"the connection's data is not a valid HTTP/1.1 request{f': {reason}' if reason else ''}")


class HeadersTooLarge(SlimseqError):
    """Raised when the request line and headers, or the trailers of a body, exceed the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request line and headers are larger than the limit of {limit} bytes")


class HeadersTimeout(SlimseqError):
    """Raised when a client does not send all headers in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the request line and headers did not arrive within {seconds:g} s")


class TooManyConnections(SlimseqError):
    """Raised when a client connects while every allowed connection has a request in progress."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the limit of {limit} connections is reached; retry later")


class UnsupportedLanguages(SlimseqError):
    """Raised when a request names a language that the variant does not translate from or to."""


class UnclosedMarkup(SlimseqError):
    """Raised when HTML has an element, tag or comment that is not closed, or an end tag too many. Names the place."""


class MarkupTooComplex(SlimseqError):
    """Raised when Markdown is longer or nested deeper than can be read in time. Names the line where there is one."""


class UnfitRuntime(SlimseqError):
    """Raised when a request names a runtime that cannot load the variant here. Names those that can."""


class TextTooLong(SlimseqError):
    """Raised when a text exceeds the context window and the request forbids truncation. Names the text."""


class NotFound(SlimseqError):
    """Raised when a path has no endpoint."""


class MethodNotAllowed(SlimseqError):
    """Raised when an endpoint does not have the method."""

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"{path} does not allow {method}; it allows {allowed}")
        self.allowed = allowed


class NoVariantRetains(SlimseqError):
    """Raised when no variant has the requested retention. Lists the retention of each."""

    def __init__(self, task: str, wanted: float, retentions: Sequence[tuple[str, float | None]]) -> None:
        kept = ", ".join(
            f"{name} {'is unmeasured' if value is None else f'keeps {value:.4f}'}" for name, value in retentions
        )
        super().__init__(
            f"no {task} variant that can serve keeps {wanted:g} of its reference: {kept or 'there is none'}"
        )


class NoVariantFits(SlimseqError):
    """Raised when no variant is within the limits of a request. Says what each variant has."""

    def __init__(self, task: str, limits: str, variants: Sequence[str]) -> None:
        super().__init__(
            f"no {task} variant that can serve has {limits}; there is {'; '.join(variants) or 'no measured one'}"
        )


class UnknownEvaluation(SlimseqError):
    """Raised when there is no evaluation with an id, or it was deleted because it is old."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"there is no evaluation {identifier!r}; old evaluations are deleted")


class EvaluationRuns(SlimseqError):
    """Raised when something is done to an evaluation that has to end first."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"evaluation {identifier} has not ended; cancel it first, which deletes its texts")


class EvaluationEnded(SlimseqError):
    """Raised when the process of an evaluation ended without results. Names the reason, and what to do."""


class UnknownExperiment(SlimseqError):
    """Raised when there is no experiment with an id."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"there is no experiment {identifier[:64]!r}")


class ExperimentRuns(SlimseqError):
    """Raised when an experiment is started for a task that has a running one, or a running one is deleted. Names it."""

    def __init__(self, task: str, running: str) -> None:
        super().__init__(f"{task} has a running experiment, {running}: stop it first")


class TooManyExperiments(SlimseqError):
    """Raised when an experiment is started and there are as many as are kept."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"there are {limit} experiments, the limit; delete one that has stopped, with DELETE /experiments/ID"
        )


class UnknownResponse(SlimseqError):
    """Raised when feedback names a response or a comparison that was not made here, or that is too old."""

    def __init__(self, judged: str) -> None:
        super().__init__(f"there is no {judged} to judge: its id is wrong or too old")


class AlreadyJudged(SlimseqError):
    """Raised when a response was rated, or a comparison voted on, before."""

    def __init__(self, judged: str) -> None:
        super().__init__(f"{judged} was judged before; each is judged once")


class DatabaseUnavailable(SlimseqError):
    """Raised when the database fails or takes too long. The log has the reason. Generation goes on without it."""

    retry_after_seconds = 5

    def __init__(self) -> None:
        super().__init__(
            "the database of evaluations and experiments is not available, see the log of the service; retry later"
        )


class PayloadTooLarge(SlimseqError):
    """Raised when a body is larger than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than the limit of {limit} bytes")


class UnsupportedMediaType(SlimseqError):
    """Raised when the declared media type of a body is not one that the path reads, or the body is compressed."""


class Overloaded(SlimseqError):
    """Raised when the queue is full. The client may retry after `retry_after_seconds`."""

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(f"{detail}; retry in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class Unauthenticated(SlimseqError):
    """Raised when a request has no key that is valid. It is not said whether it is missing, wrong or expired."""

    def __init__(self) -> None:
        super().__init__("send a valid key in the header `Authorization: Bearer KEY`")


class Forbidden(SlimseqError):
    """Raised when a request has not the right that it needs, such as that of operators."""


class OutOfScope(Forbidden):
    """Raised when a key is valid and may not do what the request asks for."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"this key may not do this: it needs the scope `{scope}`")


class KeyLimitReached(SlimseqError):
    """Raised when a key has used what it may use. The client may retry after `retry_after_seconds`."""

    def __init__(self, limit: str, retry_after_seconds: int) -> None:
        super().__init__(f"this key is limited to {limit}; retry in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class AboveKeyLimit(SlimseqError):
    """Raised when one request is larger than what its key may use in the whole period of a limit."""

    def __init__(self, limit: str, used: int) -> None:
        super().__init__(f"this key is limited to {limit}, and the request has {used}; send fewer at once")


class UntrustedHost(SlimseqError):
    """Raised when the host that a request names is none of `SLIMSEQ_TRUSTED_HOSTS`."""

    def __init__(self) -> None:
        super().__init__("this service has another name; SLIMSEQ_TRUSTED_HOSTS lists its names")


class VariantInUse(SlimseqError):
    """Raised when a variant cannot be unloaded because requests use it."""

    def __init__(self, artifact: str, requests: int) -> None:
        super().__init__(f"{artifact} is in use by {requests} request{'s' * (requests > 1)}; retry later")


class VariantTooLarge(SlimseqError):
    """Raised when a variant needs more memory than the memory budget of all variants."""

    def __init__(self, artifact: str, needed: int, budget: int) -> None:
        super().__init__(
            f"{artifact} needs about {needed} bytes of memory; the budget is {budget}: raise SLIMSEQ_MAX_RESIDENT_BYTES"
        )


class NotReady(SlimseqError):
    """Raised by the readiness probe while the service cannot serve. Names the reason."""


class ShuttingDown(SlimseqError):
    """Raised for requests that arrive or wait while the service stops."""

    def __init__(self) -> None:
        super().__init__("the service is stopping")


class DeadlineExceeded(SlimseqError):
    """Raised when a request exceeds its deadline. Its waiting rows are dropped."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"deadline of {seconds:g} s exceeded; shorten the input or retry later")


class GenerationFailed(SlimseqError):
    """Raised for the requests of a batch whose generation failed. Other batches continue."""

    def __init__(self, artifact: str) -> None:
        super().__init__(f"generation with {artifact} failed; see the log of the service")


class UnusableStore(SlimseqError):
    """Raised at the start when the store is missing or empty, or is not the one of the deployment. Names the store."""


class UnusableDatabase(SlimseqError):
    """Raised at the start when the URL of the database cannot be parsed."""

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
    kind = next((each for each in SlimseqError.__subclasses__() if each.__name__ == name), SlimseqError)
    return kind.__new__(kind, detail)
