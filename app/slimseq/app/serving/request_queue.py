"""What batching and scheduling share: the queue of one loaded variant, and the threads that work it off.

`submit`, `wait` and `abandon` belong to the event loop; what is done with the rows in the queue is a subclass's.

Requests share a variant by the tokens that they are served, in the order of weighted fair queueing (Demers, Keshav and
Shenker 1989, https://dl.acm.org/doi/10.1145/75246.75248): the next row is that which would end first if all requests
were served at once, each at the same rate. So a short request goes before the long ones that were there, however many
they are, and none is overtaken for ever.
"""

import asyncio
import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from slimseq.app.errors import DeadlineExceeded, GenerationFailed, InvalidRequest, Overloaded, ShuttingDown
from slimseq.app.serving.request import Generated, Listener, QueuedRequest
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import GenerationOptions

logger = logging.getLogger(__name__)

# Outputs are seldom longer than their input by so many tokens; most may be far longer.
LIKELY_MORE = 32


@dataclass(frozen=True)
class WorkLimits:
    """How much runs together, and how much may wait.

    Args:
        max_rows: sequences of one batch, rows times their beams, on runtimes that start and end rows together.
        max_tokens: tokens that rows in flight are likely to come to, on runtimes that do not.
        wait_seconds: how long an idle worker waits for company before a batch starts, where requests meet.
        queue_rows: how many rows may wait.
    """

    max_rows: int = 32
    max_tokens: int = 16384
    wait_seconds: float = 0.003
    queue_rows: int = 4096


class RequestQueue(ABC):
    """Queue and threads of one loaded variant."""

    def __init__(self, name: str, limits: WorkLimits, on_rows: Callable[[int], None] | None) -> None:
        """Starts no thread: subclasses do, once they are whole.

        Args:
            name: names the artifact in errors and threads.
            limits: sizes of what runs and of the queue.
            on_rows: told how many rows run together, at each batch or step.
        """
        self._name = name
        self._limits = limits
        self._on_rows = on_rows
        self._queue: list[QueuedRequest] = []
        self._changed = threading.Condition()
        self._is_closing = False
        # The virtual time of fair queueing: tokens that each waiting request would have been served by now.
        self._virtual_time = 0.0
        self._seconds_a_row = 0.05
        # Runs that broke since the last that did not.
        self.failures = 0
        self._threads: list[threading.Thread] = []

    @property
    def queued_rows(self) -> int:
        """How many rows wait for their turn."""
        with self._changed:
            return self._queued_rows()

    def submit(
        self,
        rows: Sequence[Encoding],
        options: GenerationOptions,
        deadline: float,
        listener: Listener | None = None,
        stops: Sequence[str] = (),
    ) -> QueuedRequest:
        """Queues rows; whoever submits must `wait` or `abandon`.

        Raises:
            InvalidRequest: the queue could never hold so many rows.
            Overloaded: the queue is full.
            ShuttingDown: the worker is closing.
        """
        if len(rows) > self._limits.queue_rows:
            raise InvalidRequest(
                f"text: has {len(rows)} parts to generate for; at most {self._limits.queue_rows} a request"
            )
        request = QueuedRequest(rows, options, deadline, listener, stops)
        with self._changed:
            if self._is_closing:
                raise ShuttingDown()
            queued = self._queued_rows()
            if queued + len(rows) > self._limits.queue_rows:
                seconds = math.ceil(min(max(queued * self._seconds_a_row, 1), 60))
                raise Overloaded(f"{self._name} has {queued} rows waiting, and no room for {len(rows)} more", seconds)
            self._arrived(request)
            request.next_tokens = next_tokens(request)
            request.virtual_finish = self._virtual_time + request.next_tokens
            self._queue.append(request)
            self._changed.notify()
        return request

    async def wait(self, request: QueuedRequest) -> Generated:
        """Returns a submission's outputs; a cancelled wait abandons it.

        Raises:
            DeadlineExceeded: they were not there in time.
            SlimseqError: what running it failed with.
        """
        seconds = request.deadline - time.monotonic()
        try:
            return await asyncio.wait_for(request.future, max(seconds, 0))
        except TimeoutError:
            raise DeadlineExceeded(request.seconds) from None
        finally:
            self.abandon(request)

    def abandon(self, request: QueuedRequest) -> None:
        """Drops what still waits of a submission; what runs of it ends at its next step."""
        request.abandon()
        self._unqueue(request)

    def close(self) -> None:
        """Ends what runs, fails what waits with `ShuttingDown`, and joins the threads."""
        with self._changed:
            self._is_closing = True
            waiting, self._queue = self._queue, []
            self._changed.notify_all()
        for request in waiting:
            request.fail(ShuttingDown())
        for thread in self._threads:
            thread.join()

    def _start(self, workers: int) -> None:
        """Starts the threads, once a subclass is whole."""
        for number in range(workers):
            thread = threading.Thread(target=self._work, name=f"worker {number} {self._name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _arrived(self, request: QueuedRequest) -> None:  # noqa: B027
        """Told of each submission before it stands in the queue, which is held; most need not know."""

    @abstractmethod
    def _work(self) -> None:
        """Works the queue off until closing, on one of the threads."""

    def _queued_rows(self) -> int:
        return sum(len(request.waiting) for request in self._queue)

    def _take_row(self, request: QueuedRequest) -> int:
        """Takes a request's next row out of the queue, which is held, and moves virtual time on by its tokens."""
        self._virtual_time += request.next_tokens / len(self._queue)
        row = request.waiting.popleft()
        if request.waiting:
            request.next_tokens = next_tokens(request)
            request.virtual_finish += request.next_tokens
        else:
            self._queue.remove(request)
        return row

    def _succeeded(self, seconds_a_row: float) -> None:
        """Takes what a row took into the estimate that refused clients are told."""
        self.failures = 0
        self._seconds_a_row += 0.2 * (seconds_a_row - self._seconds_a_row)

    def _failed(self, requests: Iterable[QueuedRequest], error: Exception) -> None:
        if not isinstance(error, SlimseqError):
            self.failures += 1
            logger.error("generation failed", exc_info=error, extra={"artifact": self._name})
        for request in requests:
            self._drop(request, error if isinstance(error, SlimseqError) else GenerationFailed(self._name))

    def _drop(self, request: QueuedRequest, error: Exception) -> None:
        self._unqueue(request)
        request.fail(error)

    def _unqueue(self, request: QueuedRequest) -> None:
        with self._changed:
            if request in self._queue:
                self._queue.remove(request)


# Of requests that wait, the one whose next row is served first is the least by this.
by_virtual_finish = attrgetter("virtual_finish")


def next_tokens(request: QueuedRequest) -> int:
    """Returns what a request's next row is likely to come to."""
    return tokens_of(request.rows[request.waiting[0]], request.options)


def tokens_of(encoding: Encoding, options: GenerationOptions) -> int:
    """Returns what a row is likely to come to: its input, which its beams share, and what each beam writes."""
    likely = min(options.max_new_tokens, max(len(encoding.ids) + LIKELY_MORE, options.min_new_tokens))
    return len(encoding.ids) + options.num_beams * likely
