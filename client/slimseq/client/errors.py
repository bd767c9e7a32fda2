"""The errors of the client, and the rule when a call is sent again (`Retry`)."""

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import httpx2

from slimseq.client.quality import Evaluation

# Characters of an unexpected answer that its error shows.
MAX_SHOWN_CHARACTERS = 200
# Errors before the request was sent, and errors because the connection was closed.
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
CLOSED = (httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.WriteError)


class ClientError(Exception):
    """Base of all errors of the client."""


class ServiceProblem(ClientError):
    """The service refused a request, or failed.

    `type` is the problem's stable name, such as `/problems/unknown-variant`. `detail` says what went wrong, where, and
    what to do. The service's log has the `request_id`. `retry_after_seconds` is the time after which the service wants
    the request again; None if it does not.
    """

    def __init__(self, problem: Mapping[str, Any], retry_after_seconds: float | None = None) -> None:
        self.type = str(problem.get("type", "about:blank"))
        self.title = str(problem.get("title", ""))
        self.status = int(problem["status"])
        self.detail = str(problem.get("detail", ""))
        self.request_id = str(problem.get("request_id", ""))
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{self.status} {self.title}: {self.detail} (request {self.request_id})")

    @property
    def is_temporary(self) -> bool:
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.retry_after_seconds is not None


class Unreachable(ClientError):
    """The service did not answer, or not to the end. `__cause__` is the error of the HTTP library.

    If `is_sent`, the service may have received the request. If `is_closed`, the connection was closed without an
    answer: because it was idle, or because the service ended.
    """

    def __init__(self, message: str, is_sent: bool = True, is_closed: bool = False) -> None:
        super().__init__(message)
        self.is_sent = is_sent
        self.is_closed = is_closed

    @classmethod
    def of(cls, error: httpx2.HTTPError) -> Self:
        found = cls(
            f"{error.request.url.copy_with(query=None)}: {error or type(error).__name__}",
            not isinstance(error, NOT_SENT),
            isinstance(error, CLOSED),
        )
        found.__cause__ = error
        return found


class UnexpectedAnswer(ClientError):
    """The answer is not from the service, but from another program at its URL, or from a proxy in front of it."""

    def __init__(self, response: httpx2.Response) -> None:
        shown = response.text[:MAX_SHOWN_CHARACTERS].strip()
        super().__init__(f"{response.request.url}: an answer of no known form, status {response.status_code}: {shown}")
        self.status = response.status_code


class EvaluationFailed(ClientError):
    """An evaluation that was waited for failed or was cancelled."""

    def __init__(self, evaluation: Evaluation) -> None:
        reason = f": {evaluation.error.detail}" if evaluation.error else ""
        super().__init__(f"evaluation {evaluation.id} {evaluation.status}{reason}")


class WaitedTooLong(ClientError):
    """An evaluation did not end within the time to wait. The evaluation goes on."""

    def __init__(self, evaluation: Evaluation, seconds: float) -> None:
        super().__init__(f"evaluation {evaluation.id} did not end within {seconds:g} s; it goes on")


def error_of(response: httpx2.Response) -> ClientError:
    """Returns the error for an answer whose status is 400 or above, and whose body was read."""
    try:
        return ServiceProblem(response.json(), _retry_after(response))
    except (ValueError, KeyError, TypeError, AttributeError):
        return UnexpectedAnswer(response)


def _retry_after(response: httpx2.Response) -> float | None:
    """Returns the seconds of the header `Retry-After`, which has seconds or a date. None without a valid header."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


@dataclass(frozen=True)
class Retry:
    """A call is sent again if the service is overloaded or asks for it, was not reached, or ended meanwhile.

    A service that ends closes its connections. If it is a replica of a cluster, the proxy in front of it answers with a
    status of 500 or above, and without a problem.

    Args:
        attempts: how often a call is sent at most. 1 means no retry.
        first_wait_seconds: the wait before the second attempt, doubled for each further attempt. An answer may name
            another time.
        longest_wait_seconds: if the wait would be longer, the error is raised at once.
    """

    attempts: int = 4
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def wait_seconds(self, attempt: int, error: ClientError, is_repeatable: bool) -> float:
        """Returns the seconds to wait after so many attempts. Raises the error of the last attempt if it is final."""
        seconds = self.first_wait_seconds * 2.0 ** (attempt - 1)
        if isinstance(error, ServiceProblem):
            may_succeed = error.is_temporary
            if error.retry_after_seconds is not None:
                seconds = error.retry_after_seconds
        elif isinstance(error, Unreachable):
            may_succeed = not error.is_sent or (is_repeatable and error.is_closed)
        else:
            # The answer of a proxy whose service has ended.
            may_succeed = is_repeatable and isinstance(error, UnexpectedAnswer) and error.status >= 500
        if attempt >= self.attempts or not may_succeed or seconds > self.longest_wait_seconds:
            raise error
        return seconds
