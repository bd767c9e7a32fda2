"""When a failed call is sent again."""

from dataclasses import dataclass

from slimseq.client.errors import ClientError, ServiceProblem, UnexpectedAnswer, Unreachable

FIRST_SERVER_ERROR = 500


@dataclass(frozen=True)
class Retry:
    """A call is sent again if the service is overloaded or asks for it, was not reached, or ended meanwhile.

    A service that ends closes its connections. If it is a replica of a cluster, the proxy in front of it answers with a
    status of 500 or above, and without a problem.

    Args:
        attempts: how often a call is sent at most. 1 means no retry.
        first_wait_seconds: the wait before the second attempt, doubled for each further one, where the service names
            no time.
        longest_wait_seconds: a longer wait is not worth it: the error is raised at once.
    """

    attempts: int = 4
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def wait_seconds(self, attempt: int, error: ClientError, is_repeatable: bool) -> float | None:
        """Returns the seconds to wait before the next attempt, None if the error is final.

        Args:
            attempt: the number of attempts so far.
            error: why the last one failed.
            is_repeatable: whether the call may reach the service twice without harm.
        """
        if attempt >= self.attempts:
            return None
        seconds = self.first_wait_seconds * 2.0 ** (attempt - 1)
        if isinstance(error, ServiceProblem) and error.is_temporary:
            if error.retry_after_seconds is not None:
                seconds = error.retry_after_seconds
        elif not (_is_not_sent(error) or (is_repeatable and _has_ended(error))):
            return None
        return seconds if seconds <= self.longest_wait_seconds else None


def _is_not_sent(error: ClientError) -> bool:
    return isinstance(error, Unreachable) and not error.is_sent


def _has_ended(error: ClientError) -> bool:
    if isinstance(error, UnexpectedAnswer):
        return error.status >= FIRST_SERVER_ERROR
    return isinstance(error, Unreachable) and error.is_closed
