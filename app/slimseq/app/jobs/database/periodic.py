"""What is done with the database now and then, for as long as the service runs."""

import asyncio
import contextlib
from abc import ABC, abstractmethod

from slimseq.app.errors import DatabaseUnavailable


class Periodic(ABC):
    """Repeats something from `start` to `close`. Used from the event loop."""

    def __init__(self, seconds: float) -> None:
        """Starts nothing.

        Args:
            seconds: from the end of one time to the next.
        """
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts with the first time at once."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stops."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    async def repeat(self) -> None:
        """Is called each time.

        Raises:
            DatabaseUnavailable: the database failed, which it logs. The next time comes as ever.
        """

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                await self.repeat()
            await asyncio.sleep(self._seconds)
