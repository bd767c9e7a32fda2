"""When a failed call is sent again."""

from dataclasses import dataclass

from slimseq.client.errors import ClientError, ServiceProblem, Unreachable


@dataclass(frozen=True)
class Retry:
    """A call is sent again if the service is overloaded or asks for it, or was not reached.

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
        elif not (isinstance(error, Unreachable) and (not error.is_sent or (error.is_closed and is_repeatable))):
            return None
        return seconds if seconds <= self.longest_wait_seconds else None
