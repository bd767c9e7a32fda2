"""The request queue of a loaded variant, with its worker threads. Static and continuous batching are its subclasses.

The event loop calls `submit`, `wait` and `abandon`. The threads run `_work` of a subclass, which takes rows from the
queue and generates. `_changed` locks the queue, and wakes threads that wait for rows.

Rows are ordered by weighted fair queueing over tokens (Demers, Keshav and Shenker 1989,
https://dl.acm.org/doi/10.1145/75246.75248): the next row is the one that would finish first if all requests were served
in parallel at the same rate. So a short request overtakes any number of long ones, and no request starves. Requests of
low priority have a share of `1 / LOW_PRIORITY_FACTOR` of that rate.
"""

import asyncio
import logging
import math
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

from slimseq.app.errors import (
    DeadlineExceeded,
    GenerationFailed,
    InvalidRequest,
    Overloaded,
    ResourcesExhausted,
    ShuttingDown,
    VariantFailed,
)
from slimseq.app.failures import what_ran_out
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request import Generated, QueuedRequest
from slimseq.inference.generator import TextGenerator
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.generation import GenerationOptions

logger = logging.getLogger(__name__)

# Consecutive failed runs after which a variant is loaded again.
MAX_FAILURES = 2
# Outputs rarely exceed their input by more tokens. `max_new_tokens` is usually much larger.
EXPECTED_EXTRA_TOKENS = 32
# Weight of the last row in the average time of a row.
LAST_WEIGHT = 0.2
# Random factor of the time after which a rejected client should retry, so that clients that were rejected together
# return at different times. It is above 1, since they compete with the next requests of the others.
RETRY_JITTER = (1.0, 3.0)
MAX_RETRY_SECONDS = 60


@dataclass(frozen=True)
class WorkLimits:
    """Sizes of batches and queue.

    With static batching, a batch has at most `max_rows` sequences (rows times beams). With continuous batching, the
    rows in progress have at most `max_tokens` expected tokens.
    """

    max_rows: int = 32
    max_tokens: int = 16384
    queue_rows: int = 4096


@dataclass(eq=False)
class RequestQueue(ABC):
    """The queue and the worker threads of one loaded variant.

    Attributes:
        _name: name of the variant, for errors and threads.
        workers: number of threads: of engines, or of concurrent batches.
        _on_rows: called with the number of rows of each batch or step.
        _on_accepted: called at the end of an output of greedy search, with its mean number of tokens for each step.
        _traces: receives the phases of requests.
    """

    _generator: TextGenerator
    _name: str
    _limits: WorkLimits = WorkLimits()
    workers: int = 1
    _on_rows: Callable[[float], None] | None = None
    _on_accepted: Callable[[float], None] | None = None
    _traces: Traces | None = None

    def __post_init__(self) -> None:
        self._queue: list[QueuedRequest] = []
        self._changed = threading.Condition()
        self._is_closing = False
        # Virtual time of fair queueing: the tokens that every waiting request would have got by now.
        self._virtual_time = 0.0
        # Average time in which a thread completes a row: rows run together, and each has a share of the time. Until the
        # first rows are complete, this is a guess.
        self._seconds_a_row = 0.05
        # Failed runs since the last successful one.
        self.failures = 0
        # Whether a worker has ended because of an error. Requests are refused, and the pool loads the variant anew.
        self.has_failed = False
        self._threads = [
            threading.Thread(target=self._work_to_the_end, name=f"worker {number} {self._name}", daemon=True)
            for number in range(self.workers)
        ]
        self._prepare()
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            # The system may have no more threads. Those that have started end.
            self.close()
            raise

    def _prepare(self) -> None:  # noqa: B027
        """Called before the threads start."""

    @property
    def is_broken(self) -> bool:
        """Whether the variant should be loaded again: its last runs failed, or a worker has ended."""
        return self.has_failed or self.failures >= MAX_FAILURES

    @property
    def queued_rows(self) -> int:
        with self._changed:
            return self._queued_rows()

    def submit(self, request: QueuedRequest) -> QueuedRequest:
        """Queues a request. The caller must `wait` or `abandon`. A request without rows has its outputs at once.

        Further rows of an admitted request are queued even if the queue is full, and do not count for its limit.

        Raises:
            InvalidRequest: there are more rows than the queue can ever hold.
            Overloaded: the queue is full.
            ShuttingDown: the worker is closing.
            VariantFailed: a worker has ended because of an error.
        """
        rows = len(request.rows)
        if rows > self._limits.queue_rows and not request.is_admitted:
            raise InvalidRequest(f"text: has {rows} segments; at most {self._limits.queue_rows} are allowed")
        if not rows:
            # Texts that are nothing but protected spans.
            request.complete({})
            return request
        added = len(request.waiting)
        with self._changed:
            if self._is_closing:
                raise ShuttingDown()
            if self.has_failed:
                raise VariantFailed(self._name)
            queued = sum(len(each.waiting) for each in self._queue if not each.is_admitted)
            if queued + added > self._limits.queue_rows and not request.is_admitted:
                detail = f"{self._name} has {queued} rows waiting, too many for {added} more"
                raise Overloaded(detail, self._retry_after_seconds(queued + added))
            request.next_tokens = next_tokens(request)
            request.virtual_finish = self._virtual_time + request.factor * request.next_tokens
            self._queue.append(request)
            self._changed.notify()
        return request

    async def wait(self, request: QueuedRequest) -> Generated:
        """Returns the outputs of a request. To cancel the wait abandons the request.

        Raises:
            DeadlineExceeded: the request expired.
            SlimseqError: generation failed.
        """
        # A timer costs less than `Due.limited`.
        expiry = asyncio.get_running_loop().call_later(request.due.seconds_left, self._expire, request)
        try:
            return await request.future
        finally:
            expiry.cancel()
            self.abandon(request)

    def abandon(self, request: QueuedRequest) -> None:
        """Drops the waiting rows of a request. Its running rows end at their next step."""
        # A stream calls this twice: when it ends and when it is closed.
        is_first = not request.is_abandoned
        request.abandon()
        self._unqueue(request)
        if self._traces and request.rows and is_first:
            attributes = request.span_attributes(self._name)
            self._traces.generated(request.arrival, request.begun, request.ended, attributes)

    def close(self) -> None:
        """Stops running rows, fails waiting requests with `ShuttingDown`, and joins the threads."""
        with self._changed:
            self._is_closing = True
            waiting, self._queue = self._queue, []
            self._changed.notify_all()
        for request in waiting:
            request.fail(ShuttingDown())
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work_to_the_end(self) -> None:
        try:
            self._work()
        except BaseException as error:
            # This may have been the only thread. Then nobody would answer the requests that wait.
            logger.critical("a worker has ended: the variant is loaded anew", exc_info=error, extra=self._artifact)
            self._refuse_all()

    @abstractmethod
    def _work(self) -> None:
        """Processes the queue until it closes, on one of the threads.

        Whatever a batch or a step raises must fail its requests, and no others. That includes what is no `Exception`:
        pyo3 raises panics of libraries in Rust as a `BaseException`. Any other error ends the thread. The rows that the
        thread has taken must have failed by then.
        """

    def _refuse_all(self) -> None:
        """Fails what waits, and from now on every new request."""
        with self._changed:
            self.has_failed = True
            waiting, self._queue = self._queue, []
        for request in waiting:
            request.fail(VariantFailed(self._name))

    @property
    def _artifact(self) -> dict[str, str]:
        return {"artifact": self._name}

    def _queued_rows(self) -> int:
        return sum(len(request.waiting) for request in self._queue)

    def _take_row(self, request: QueuedRequest) -> int:
        """Takes the next row of a request, while the queue is locked, and advances the virtual time by its tokens."""
        total_weight = sum(1 / each.factor for each in self._queue)
        self._virtual_time += request.next_tokens / total_weight
        row = request.waiting.popleft()
        if request.waiting:
            request.next_tokens = next_tokens(request)
            request.virtual_finish += request.factor * request.next_tokens
        else:
            self._queue.remove(request)
        return row

    def _succeeded(self, seconds: float, rows: float) -> None:
        """Updates the average time of a row, given the seconds that a number of rows took together."""
        # Several workers may end rows at once.
        with self._changed:
            self.failures = 0
            # An exponential moving average.
            last_seconds_a_row = seconds / rows
            self._seconds_a_row += LAST_WEIGHT * (last_seconds_a_row - self._seconds_a_row)

    def _retry_after_seconds(self, rows: int) -> int:
        """Returns after how long a rejected client should retry: the time for `rows` rows, and a random addition."""
        seconds = rows * self._seconds_a_row / len(self._threads)
        with_jitter = seconds * random.uniform(*RETRY_JITTER)
        return math.ceil(min(max(with_jitter, 1), MAX_RETRY_SECONDS))

    def _failed(self, requests: Iterable[QueuedRequest], error: BaseException) -> None:
        """Fails requests after an error of a batch or a step. An error that is none of ours counts as a failure."""
        answer: SlimseqError = GenerationFailed(self._name)
        if isinstance(error, SlimseqError):
            answer = error
        else:
            with self._changed:
                self.failures += 1
            logger.error("generation failed", exc_info=error, extra=self._artifact)
            resource = what_ran_out(error)
            if resource is not None:
                answer = ResourcesExhausted(f"generation with {self._name} failed", resource)
        for request in requests:
            self._drop(request, answer)

    def _abandon_rows(self, requests: Iterable[QueuedRequest]) -> None:
        """Fails the requests whose rows a worker has taken, when it ends: the queue closes, or an error ended it."""
        for request in requests:
            self._drop(request, ShuttingDown() if self._is_closing else VariantFailed(self._name))

    def _give_up(self, requests: Iterable[QueuedRequest]) -> None:
        """Fails requests that a worker has stopped: the queue closes, or nobody awaits the requests any more."""
        for request in requests:
            self._drop(request, ShuttingDown() if self._is_closing else DeadlineExceeded(request.due.seconds))

    def _drop(self, request: QueuedRequest, error: Exception) -> None:
        self._unqueue(request)
        request.fail(error)

    def _expire(self, request: QueuedRequest) -> None:
        self._drop(request, DeadlineExceeded(request.due.seconds))

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
    input_tokens = len(encoding.ids)
    output_tokens = max(input_tokens + EXPECTED_EXTRA_TOKENS, options.min_new_tokens)
    output_tokens = min(output_tokens, options.max_new_tokens)
    # A given output is scored without a search.
    beams = 1 if encoding.output else options.num_beams
    return input_tokens + beams * output_tokens
