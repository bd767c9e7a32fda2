"""One request's rows on their way through a worker, and the bridge from its thread to the event loop."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from slimseq.app.serving.stops import cut
from slimseq.inference.generator import TextOutput
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.manifest import GenerationOptions


class Listener(Protocol):
    """Follows a submission while it runs. Both are called on the generating thread."""

    def on_token(self, row: int, token: int) -> None:
        """Told each final token of a row."""

    def on_row(self, row: int, output: TextOutput) -> None:
        """Told a row's output once it is complete."""


@dataclass(frozen=True)
class Generated:
    """What a submission came to. It waited for its first row to begin, then until its last one was complete."""

    outputs: list[TextOutput]
    queue_seconds: float
    inference_seconds: float


class QueuedRequest:
    """Rows with the same options. The worker's thread takes and completes them, the event loop awaits the whole."""

    def __init__(
        self,
        rows: Sequence[Encoding],
        options: GenerationOptions,
        deadline: float,
        listener: Listener | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        """Made on the event loop that awaits it.

        Args:
            rows: the encoded inputs.
            options: what to generate with.
            deadline: `time.monotonic()` after which nobody waits any more.
            listener: told of tokens and rows; keeps the rows in reading order.
            stops: texts that end a row's output where they come.
        """
        self.rows = rows
        self.options = options
        self.deadline = deadline
        self.listener = listener
        self.stops = stops
        self.is_abandoned = False
        self._has_failed = False
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Generated] = self._loop.create_future()
        self.arrival = time.monotonic()
        self._begun: float | None = None
        self._outputs: dict[int, TextOutput] = {}
        # Rows may be completed by several threads.
        self._completing = threading.Lock()
        order = range(len(rows))
        # Rows of like length share a batch with little padding; a stream is better served in reading order.
        self.waiting = deque(order if listener else sorted(order, key=lambda row: -len(rows[row].ids)))
        # The worker's: what the next row is likely to come to, and the virtual time of fair queueing at which it ends.
        self.next_tokens = 0
        self.virtual_finish = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it: abandoned, failed, complete or past its deadline."""
        return self.is_abandoned or self._has_failed or self._future.done() or time.monotonic() > self.deadline

    @property
    def seconds(self) -> float:
        """How long it may take, from its arrival to its deadline."""
        seconds = self.deadline - self.arrival
        return round(seconds, 1 if seconds >= 0.1 else 3)

    def begin(self) -> None:
        """Told whenever a row of it begins; the first ends its waiting."""
        if self._begun is None:
            self._begun = time.monotonic()

    def complete(self, outputs: dict[int, TextOutput]) -> None:
        """Takes the outputs of some rows; the last ones resolve the whole."""
        outputs = {row: cut(output, self.stops) for row, output in outputs.items()}
        with self._completing:
            self._outputs |= outputs
            is_whole = len(self._outputs) == len(self.rows)
        if self.listener:
            for row, output in sorted(outputs.items()):
                self.listener.on_row(row, output)
        if is_whole:
            begun = self._begun or self.arrival
            result = Generated(
                outputs=[self._outputs[row] for row in range(len(self.rows))],
                queue_seconds=begun - self.arrival,
                inference_seconds=time.monotonic() - begun,
            )
            self._on_loop(lambda: None if self._future.done() else self._future.set_result(result))

    def abandon(self) -> None:
        """Tells the worker's thread that nobody waits any more. Called on the event loop."""
        self.is_abandoned = True
        self._future.cancel()

    def fail(self, error: Exception) -> None:
        """Ends it with an error; rows that still wait are dropped."""
        self._has_failed = True
        self.waiting.clear()
        self._on_loop(lambda: None if self._future.done() else self._future.set_exception(error))

    @property
    def future(self) -> asyncio.Future[Generated]:
        """Resolves to the outputs, or to the error that running it gave."""
        return self._future

    def _on_loop(self, resolve: Callable[[], object]) -> None:
        # The loop may have ended while a row still ran: then nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(resolve)
