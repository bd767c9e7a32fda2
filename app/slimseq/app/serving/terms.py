"""The terms of a request: until when, with which priority and for whom it is answered. Its headers state them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from slimseq.app.errors import DeadlineExceeded

Priority = Literal["normal", "low"]


@dataclass(frozen=True)
class Terms:
    """What a request says beside its texts and the choice of its variant.

    `unit` keeps its arm of an experiment. The deadline of the settings is never exceeded. `low` waits behind `normal`
    and never starves.
    """

    unit: str | None = None
    deadline_seconds: float | None = None
    priority: Priority = "normal"

    def due(self, most_seconds: float) -> "Due":
        """Returns when a request that starts now expires: at its deadline, or after `most_seconds`."""
        seconds = most_seconds if self.deadline_seconds is None else min(self.deadline_seconds, most_seconds)
        return Due.within(seconds, self.priority)


class Due(NamedTuple):
    """When a request expires, of `time.monotonic()`, the seconds that it had in all, and its place among others."""

    at: float
    seconds: float
    priority: Priority = "normal"

    @classmethod
    def within(cls, seconds: float, priority: Priority = "normal") -> "Due":
        return cls(time.monotonic() + seconds, seconds, priority)

    @property
    def seconds_left(self) -> float:
        return max(self.at - time.monotonic(), 0)

    @contextlib.asynccontextmanager
    async def limited(self) -> AsyncGenerator[None]:
        """Cancels what waits in the block when the request expires.

        Raises:
            DeadlineExceeded: it was cancelled, or had expired before.
        """
        if not self.seconds_left:
            raise DeadlineExceeded(self.seconds)
        try:
            async with asyncio.timeout(self.seconds_left):
                yield
        except TimeoutError:
            raise DeadlineExceeded(self.seconds) from None
