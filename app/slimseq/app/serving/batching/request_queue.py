"""The request queue of a loaded variant, with its worker threads. Static and continuous batching are its subclasses.

`submit`, `wait` and `abandon` are called on the event loop. Subclasses process the rows.

Rows are ordered by weighted fair queueing over tokens (Demers, Keshav and Shenker 1989,
https://dl.acm.org/doi/10.1145/75246.75248): the next row is the one that would finish first if all requests were served
in parallel at the same rate. So a short request overtakes any number of long ones, and no request starves. Requests of
low priority have a share of `1 / LOW_PRIORITY_FACTOR` of that rate.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from slimseq.app.errors import DeadlineExceeded, GenerationFailed, InvalidRequest, Overloaded, ShuttingDown
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request import Generated, Listener, QueuedRequest
from slimseq.app.serving.batching.retry_after import RetryTimes
from slimseq.app.serving.terms import Due
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.generation import GenerationOptions

logger = logging.getLogger(__name__)

# Outputs rarely exceed their input by more tokens. `max_new_tokens` is usually much larger.
EXPECTED_EXTRA_TOKENS = 32
# The rate of a request of normal priority, relative to one of low priority.
LOW_PRIORITY_FACTOR = 8
# Weight of the last row in the average time of a row.
LAST_WEIGHT = 0.2
# How many rows tell what a row needs at least. The fastest of them counts: a few slow ones, such as outputs without an
# end, prove nothing about the others.
RECENT_ROWS = 16


@dataclass(frozen=True)
class WorkLimits:
    """Sizes of batches and queue.

    Args:
        max_rows: static batching: maximum number of sequences (rows times beams) in a batch.
        max_tokens: continuous batching: maximum number of expected tokens of the rows in progress.
        wait_seconds: static batching: how long an idle worker waits for more rows before a batch starts.
        queue_rows: maximum number of rows in the queue.
    """

    max_rows: int = 32
    max_tokens: int = 16384
    wait_seconds: float = 0.003
    queue_rows: int = 4096


class RequestQueue(ABC):
    """The queue and the worker threads of one loaded variant."""

    def __init__(
        self, name: str, limits: WorkLimits, on_rows: Callable[[int], None] | None, traces: Traces | None
    ) -> None:
        """Starts no thread. Subclasses call `_start` at the end of their constructor.

        Args:
            name: names the artifact in errors and threads.
            limits: sizes of what runs and of the queue.
            on_rows: called with the number of rows of each batch or step.
            traces: receives the phases of requests. None: traces are off.
        """
        self._name = name
        self._limits = limits
        self._on_rows = on_rows
        self._traces = traces
        self._queue: list[QueuedRequest] = []
        # Expected tokens of all requests that have not ended, queued or running.
        self.pending_tokens = 0
        self._changed = threading.Condition()
        self._is_closing = False
        # Virtual time of fair queueing: the tokens that every waiting request would have got by now.
        self._virtual_time = 0.0
        # The time in which a thread completes a row, on average. It runs several at a time.
        self._seconds_a_row = 0.05
        # Of the last rows, the time from their start to their end, and their tokens times the rows that ran with them.
        # Threads replace it without the lock.
        self._recent: tuple[tuple[float, float], ...] = ()
        self._retry_times = RetryTimes()
        # Failed runs since the last successful one.
        self.failures = 0
        self._threads: list[threading.Thread] = []

    @property
    def queued_rows(self) -> int:
        """Number of rows in the queue."""
        with self._changed:
            return self._queued_rows()

    def submit(
        self,
        rows: Sequence[Encoding],
        options: GenerationOptions,
        due: Due,
        listener: Listener | None = None,
        stops: Sequence[str] = (),
        *,
        unstopped: Collection[int] = (),
        has_equal_rows: bool = False,
        is_admitted: bool = False,
    ) -> QueuedRequest:
        """Queues rows. The caller must `wait` or `abandon`. A request without rows has its outputs at once.

        Args:
            rows: the encoded inputs.
            options: generation options of all rows.
            due: when the request expires.
            listener: receives tokens and rows.
            stops: strings that end the output of a row.
            unstopped: rows that no stop string ends.
            has_equal_rows: equal rows are likely. They are generated once, unless they are sampled.
            is_admitted: whether the rows belong to a request whose first rows were queued before. Then they are queued
                even if the queue is full.

        Raises:
            InvalidRequest: there are more rows than the queue can ever hold.
            Overloaded: the queue is full.
            ShuttingDown: the worker is closing.
        """
        if len(rows) > self._limits.queue_rows and not is_admitted:
            raise InvalidRequest(f"text: has {len(rows)} segments; at most {self._limits.queue_rows} are allowed")
        factor = LOW_PRIORITY_FACTOR if due.priority == "low" else 1
        request = QueuedRequest(rows, options, due, listener, stops, factor, unstopped, has_equal_rows=has_equal_rows)
        if not rows:
            # Texts that are nothing but protected spans.
            request.complete({})
            return request
        added = len(request.waiting)
        tokens = sum(expected_tokens(rows[row], options) for row in request.waiting)
        with self._changed:
            if self._is_closing:
                raise ShuttingDown()
            queued = self._queued_rows()
            if queued + added > self._limits.queue_rows and not is_admitted:
                seconds_a_row = self._seconds_a_row / max(len(self._threads), 1)
                seconds = self._retry_times.seconds(queued, added, seconds_a_row, request.arrival)
                raise Overloaded(f"{self._name} has {queued} rows waiting, too many for {added} more", seconds)
            self._arrived(request)
            request.next_tokens = next_tokens(request)
            request.virtual_finish = self._virtual_time + request.factor * request.next_tokens
            self._queue.append(request)
            self._changed.notify()
        request.tokens = tokens
        self.pending_tokens += request.tokens
        return request

    async def wait(self, request: QueuedRequest) -> Generated:
        """Returns the outputs of a request. To cancel the wait abandons the request.

        Raises:
            DeadlineExceeded: the request expired.
            SlimseqError: generation failed.
        """
        try:
            async with request.due.limited():
                return await request.future
        finally:
            self.abandon(request)

    def abandon(self, request: QueuedRequest) -> None:
        """Drops the waiting rows of a request. Its running rows end at their next step."""
        request.abandon()
        self._unqueue(request)
        if self._traces and request.tokens:
            input_tokens = sum(len(row.ids) for row in request.rows)
            times = request.arrival, request.begun, request.ended
            self._traces.generated(self._name, *times, len(request.rows), input_tokens)
        # A stream calls this twice: when it ends and when it is closed.
        self.pending_tokens -= request.tokens
        request.tokens = 0

    def close(self) -> None:
        """Stops running rows, fails waiting requests with `ShuttingDown`, and joins the threads."""
        with self._changed:
            self._is_closing = True
            waiting, self._queue = self._queue, []
            self._changed.notify_all()
        for request in waiting:
            request.fail(ShuttingDown())
        for thread in self._threads:
            thread.join()

    def _start(self, workers: int) -> None:
        """Starts the threads. Called at the end of a subclass's constructor."""
        for number in range(workers):
            thread = threading.Thread(target=self._work, name=f"worker {number} {self._name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _arrived(self, request: QueuedRequest) -> None:  # noqa: B027
        """Called with each request before it is queued, while the queue is locked. Does nothing by default."""

    @abstractmethod
    def _work(self) -> None:
        """Processes the queue until it closes, on one of the threads."""

    def _queued_rows(self) -> int:
        return sum(len(request.waiting) for request in self._queue)

    def _take_row(self, request: QueuedRequest) -> int:
        """Takes the next row of a request, while the queue is locked, and advances the virtual time by its tokens."""
        self._virtual_time += request.next_tokens / sum(1 / each.factor for each in self._queue)
        row = request.waiting.popleft()
        if request.waiting:
            request.next_tokens = next_tokens(request)
            request.virtual_finish += request.factor * request.next_tokens
        else:
            self._queue.remove(request)
        return row

    def _drop_hopeless(self, request: QueuedRequest, together: int) -> bool:
        """Fails a request whose next row would end after its deadline. Returns whether it did.

        To wait does not help: the time left shrinks as fast as the number of rows that run. Called while the queue is
        locked and other requests would be delayed by it.

        Args:
            request: the request.
            together: number of rows that would run together.
        """
        if request.due.seconds_left >= self._least_seconds(request.next_tokens * together):
            return False
        self._queue.remove(request)
        request.fail(DeadlineExceeded(request.due.seconds))
        return True

    def _least_seconds(self, work: float) -> float:
        """Returns the time that a row needs at least, from its start to its end.

        It is what the fastest of the last rows would have needed. A part of the time does not depend on the work, such
        as that of the encoder. So half of the work takes at least half of the time, but twice the work may take hardly
        longer.

        Args:
            work: its expected tokens times the rows that would run together.
        """
        return min((seconds * min(work / known_work, 1.0) for seconds, known_work in self._recent), default=0.0)

    def _succeeded(self, seconds: float, rows: float, tokens: int) -> None:
        """Updates the estimates of the time that rows need.

        Args:
            seconds: from their start to their end.
            rows: number of rows that ran together, on average.
            tokens: expected tokens of the longest one, or its real ones if there were more.
        """
        self.failures = 0
        self._seconds_a_row += LAST_WEIGHT * (seconds / rows - self._seconds_a_row)
        self._recent = (*self._recent, (seconds, rows * tokens))[-RECENT_ROWS:]

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


# The order of fair queueing: the request with the smallest value is next.
by_virtual_finish = attrgetter("virtual_finish")


def next_tokens(request: QueuedRequest) -> int:
    """Returns the expected tokens of the next row of a request."""
    return expected_tokens(request.rows[request.waiting[0]], request.options)


def expected_tokens(encoding: Encoding, options: GenerationOptions) -> int:
    """Returns the expected tokens of a row: its input, which the beams share, and the output of each beam."""
    expected = min(options.max_new_tokens, max(len(encoding.ids) + EXPECTED_EXTRA_TOKENS, options.min_new_tokens))
    return len(encoding.ids) + options.num_beams * expected
