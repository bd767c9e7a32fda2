"""A request in the queue of a variant: its rows, its deadline and priority, and the future of its outputs.

The event loop makes and awaits a request. Worker threads (`continuous`, `static`) take and complete the rows.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from opentelemetry.util.types import AttributeValue

from slimseq.app.errors import DeadlineExceeded
from slimseq.inference.generator import TextOutput
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions

# `low` waits behind `normal` and never starves.
Priority = Literal["normal", "low"]
# The rate of a request of normal priority, relative to one of low priority.
LOW_PRIORITY_FACTOR = 8


class Due(NamedTuple):
    """When a request expires (time of `time.monotonic`), how many seconds it had in all, and its priority."""

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


class Listener(Protocol):
    """Receives each final token and complete row of a request while it runs, on the generating thread."""

    def on_token(self, row: int, token: int) -> None: ...

    def on_row(self, row: int, output: TextOutput) -> None: ...


@dataclass
class Generated:
    """The outputs of a request, and its times.

    Attributes:
        queue_seconds: from the arrival to the start of its first row.
        inference_seconds: from the start of its first row to the end of its last one.
        begun: time of `time.monotonic` when its first row started.
        first_token_seconds: from the arrival to its first step. If the runtime shows no steps, to its first token or
            its first complete row. None if there are no tokens.
        token_seconds: seconds for each token after the first step. None if the runtime shows no steps.
    """

    outputs: list[TextOutput]
    queue_seconds: float
    inference_seconds: float
    begun: float = 0.0
    first_token_seconds: float | None = None
    token_seconds: float | None = None


@dataclass(eq=False)
class QueuedRequest:
    """Rows with the same options. Worker threads take and complete rows, the event loop that made it awaits it.

    Attributes:
        listener: receives tokens and rows while the request runs. With a listener, rows run in reading order.
        stops: strings that end an output.
        unstopped: rows that no stop string ends, since their outputs are not final.
        has_equal_rows: whether equal rows are likely. They are generated once, unless they are sampled.
        is_admitted: whether these are further passes of a request whose first rows were queued before.
    """

    rows: Sequence[Encoding]
    options: GenerationOptions
    due: Due
    listener: Listener | None = None
    stops: Sequence[str] = ()
    unstopped: Collection[int] = field(default=(), kw_only=True)
    has_equal_rows: bool = field(default=False, kw_only=True)
    is_admitted: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        # Factor of its expected tokens in fair queueing.
        self.factor = LOW_PRIORITY_FACTOR if self.due.priority == "low" else 1
        self.is_abandoned = False
        self._has_failed = False
        self._loop = asyncio.get_running_loop()
        # Resolves to the outputs or to an error.
        self.future: asyncio.Future[Generated] = self._loop.create_future()
        self.arrival = time.monotonic()
        # Times of `time.monotonic`: the first row started; a row made the first step; the first token or the first
        # complete row was there; the last row ended.
        self.begun: float | None = None
        self.first_step: float | None = None
        self.first_output: float | None = None
        self.ended: float | None = None
        self._outputs: dict[int, TextOutput] = {}
        # Rows may be completed by several threads.
        self._completing = threading.Lock()
        # For each row that is generated, the rows that get its output.
        self._equal_rows: dict[int, list[int]] = {row: [row] for row in range(len(self.rows))}
        if self.has_equal_rows and not self.options.do_sample:
            self._join_equal_rows()
        order = list(self._equal_rows)
        if self.listener is None:
            # The longest rows come first, so that rows of similar length share a batch with little padding. A stream
            # needs reading order.
            order.sort(key=lambda row: -len(self.rows[row].ids))
        self.waiting = deque(order)
        # Fair queueing: the expected tokens of the next row, and the virtual time at which it finishes.
        self.next_tokens = 0
        self.virtual_finish = 0.0

    def _join_equal_rows(self) -> None:
        first_rows: dict[object, int] = {}
        for row, encoding in enumerate(self.rows):
            key = (tuple(encoding.ids), encoding.output, encoding.is_truncated, row in self.unstopped)
            first = first_rows.setdefault(key, row)
            if first < row:
                self._equal_rows[first] += self._equal_rows.pop(row)

    @property
    def is_over(self) -> bool:
        """Whether the result is no longer awaited: abandoned, failed, complete or expired."""
        return self.is_abandoned or self._has_failed or self.future.done() or time.monotonic() > self.due.at

    @property
    def completed_rows(self) -> int:
        return len(self._outputs)

    def stops_of(self, row: int) -> Sequence[str]:
        return () if row in self.unstopped else self.stops

    def begin(self) -> None:
        """Called when a row starts. The first call ends the time in the queue."""
        if self.begun is None:
            self.begun = time.monotonic()

    def span_attributes(self, artifact: str) -> dict[str, AttributeValue]:
        """Returns the attributes of the request's span.

        Those that begin with `gen_ai` follow version 0.1.0 of OpenTelemetry's conventions for generative AI.
        """
        outputs = list(self._outputs.values())
        return {
            "slimseq.artifact": artifact,
            "slimseq.rows": len(self.rows),
            "gen_ai.operation.name": artifact.partition("/")[0],
            "gen_ai.provider.name": "slimseq",
            "gen_ai.request.model": artifact,
            "gen_ai.request.max_tokens": self.options.max_new_tokens,
            "gen_ai.request.choice.count": self.options.num_return_sequences,
            "gen_ai.request.stream": self.listener is not None,
            "gen_ai.response.model": artifact,
            "gen_ai.response.finish_reasons": [
                "length" if output.finish_reason == "length" else "stop" for output in outputs
            ],
            "gen_ai.usage.input_tokens": sum(len(row.ids) for row in self.rows),
            "gen_ai.usage.output_tokens": sum(output.output_tokens for output in outputs),
        }

    def complete(self, outputs: dict[int, TextOutput]) -> None:
        """Adds the outputs of rows, and gives equal rows the same output. The last outputs resolve the future."""
        self.first_output = self.first_output or time.monotonic()
        completed = {}
        for first, output in outputs.items():
            for row in self._equal_rows[first]:
                completed[row] = output.cut(self.stops_of(row))
        with self._completing:
            self._outputs |= completed
            is_whole = len(self._outputs) == len(self.rows)
        if self.listener:
            for row, output in sorted(completed.items()):
                self.listener.on_row(row, output)
        if is_whole:
            self.ended = time.monotonic()
            result = self._generated(self.first_output, self.ended)
            self._resolve(lambda: self.future.set_result(result))

    def _generated(self, first_output: float, ended: float) -> Generated:
        """Returns the outputs and the times of a request whose rows are complete."""
        begun = self.begun or self.arrival
        tokens = sum(output.output_tokens for output in self._outputs.values())
        first_token_seconds = None
        if tokens > 0:
            first_token_seconds = (self.first_step or first_output) - self.arrival
        token_seconds = None
        if tokens > 1 and self.first_step:
            token_seconds = (ended - self.first_step) / (tokens - 1)
        return Generated(
            outputs=[self._outputs[row] for row in range(len(self.rows))],
            queue_seconds=begun - self.arrival,
            inference_seconds=ended - begun,
            begun=begun,
            first_token_seconds=first_token_seconds,
            token_seconds=token_seconds,
        )

    def abandon(self) -> None:
        """Marks the request as no longer awaited. Called on the event loop."""
        self.is_abandoned = True
        self.future.cancel()

    def fail(self, error: Exception) -> None:
        """Ends the request with an error. Waiting rows are dropped."""
        self._has_failed = True
        self.waiting.clear()
        self._resolve(lambda: self.future.set_exception(error))

    def _resolve(self, set_outcome: Callable[[], None]) -> None:
        """Sets the outcome of the future on its event loop, unless the future has one by then."""

        def resolve() -> None:
            if not self.future.done():
                set_outcome()

        # At a shutdown, the loop may have ended while a row was running.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(resolve)
