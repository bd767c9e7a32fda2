"""Batches the rows of requests that arrive together through one generator, on one thread of its own.

Requests with the same options share batches; each batch takes rows of them in turn, so that a long request does not
keep short ones waiting for its end. What generates is only asked to `generate`; loading it is the pool's.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.errors import DeadlineExceeded, GenerationFailed, InvalidRequest, Overloaded, ShuttingDown
from app.serving.submission import Generated, Listener, Submission
from models_store.errors import SlimseqError
from models_store.generator import TextOutput
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Watch
from models_store.tokenizer import Encoding

logger = logging.getLogger(__name__)


class BatchGenerator(Protocol):
    """The part of `models_store.generator.TextGenerator` that batching needs."""

    def generate(
        self, inputs: Sequence[Encoding], options: GenerationOptions, watch: Watch | None = None
    ) -> list[TextOutput]:
        """Generates one output for each input, as one batch."""


@dataclass(frozen=True)
class BatchLimits:
    """How large batches and the queue may become."""

    max_rows: int = 32
    wait_seconds: float = 0.003
    queue_rows: int = 4096


@dataclass
class Batch:
    """Rows that run together: `(submission, row)` pairs of equal options."""

    options: GenerationOptions
    rows: list[tuple[Submission, int]] = field(default_factory=list)

    @property
    def submissions(self) -> list[Submission]:
        """Whose rows they are, each once."""
        return list(dict.fromkeys(submission for submission, _ in self.rows))


class Batcher:
    """Queue and worker thread of one loaded variant. `submit` and `wait` belong to the event loop."""

    def __init__(
        self,
        generator: BatchGenerator,
        name: str,
        limits: BatchLimits | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        """Starts the worker.

        Args:
            generator: what generates; used by the worker alone.
            name: names the artifact in errors and the thread.
            limits: sizes of batches and queue.
            on_batch: told each batch's rows when it starts.
        """
        self._generator = generator
        self._name = name
        self._limits = limits or BatchLimits()
        self._on_batch = on_batch
        self._queue: list[Submission] = []
        self._changed = threading.Condition()
        self._is_closing = False
        self._seconds_a_row = 0.05
        self._thread = threading.Thread(target=self._work, name=f"batcher {name}", daemon=True)
        self._thread.start()

    @property
    def queued_rows(self) -> int:
        """How many rows wait for a batch."""
        with self._changed:
            return self._queued_rows()

    def submit(
        self,
        rows: Sequence[Encoding],
        options: GenerationOptions,
        deadline: float,
        listener: Listener | None = None,
    ) -> Submission:
        """Queues rows; whoever submits must `wait` or `abandon`.

        Raises:
            InvalidRequest: the queue could never hold so many rows.
            Overloaded: the queue is full.
            ShuttingDown: the batcher is closing.
        """
        if len(rows) > self._limits.queue_rows:
            raise InvalidRequest(
                f"text: has {len(rows)} parts to generate for; at most {self._limits.queue_rows} a request"
            )
        submission = Submission(rows, options, deadline, listener)
        with self._changed:
            if self._is_closing:
                raise ShuttingDown()
            queued = self._queued_rows()
            if queued + len(rows) > self._limits.queue_rows:
                seconds = math.ceil(min(max(queued * self._seconds_a_row, 1), 60))
                raise Overloaded(f"{self._name} has {queued} rows waiting, and no room for {len(rows)} more", seconds)
            self._queue.append(submission)
            self._changed.notify()
        return submission

    async def wait(self, submission: Submission) -> Generated:
        """Returns a submission's outputs; a cancelled wait abandons it.

        Raises:
            DeadlineExceeded: they were not there in time.
            SlimseqError: what a batch of it failed with.
        """
        seconds = submission.deadline - time.monotonic()
        try:
            return await asyncio.wait_for(submission.future, max(seconds, 0))
        except TimeoutError:
            raise DeadlineExceeded(submission.seconds) from None
        finally:
            self.abandon(submission)

    def abandon(self, submission: Submission) -> None:
        """Drops what still waits of a submission; a batch that nobody waits for ends at its next step."""
        submission.abandon()
        self._unqueue(submission)

    def close(self) -> None:
        """Ends the running batch, fails what waits with `ShuttingDown`, and joins the worker."""
        with self._changed:
            self._is_closing = True
            waiting, self._queue = self._queue, []
            self._changed.notify()
        for submission in waiting:
            submission.fail(ShuttingDown())
        self._thread.join()

    def _queued_rows(self) -> int:
        return sum(len(submission.waiting) for submission in self._queue)

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch.rows:
                self._run(batch)

    def _next_batch(self) -> Batch | None:
        """Waits for rows, then a little longer for others to join them; None once closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            if self._queue:
                until = self._queue[0].arrival + self._limits.wait_seconds
                self._changed.wait_for(
                    lambda: self._is_closing or self._queued_rows() >= self._limits.max_rows,
                    timeout=max(until - time.monotonic(), 0),
                )
            return None if self._is_closing else self._form_batch()

    def _form_batch(self) -> Batch:
        self._queue = [submission for submission in self._queue if not submission.is_over]
        if not self._queue:
            return Batch(GenerationOptions())
        batch = Batch(self._queue[0].options)
        capacity = max(self._limits.max_rows // batch.options.num_beams, 1)
        sharing = [submission for submission in self._queue if submission.options == batch.options]
        while sharing and len(batch.rows) < capacity:
            for submission in sharing[: capacity - len(batch.rows)]:
                batch.rows.append((submission, submission.waiting.popleft()))
            sharing = [submission for submission in sharing if submission.waiting]
        served = batch.submissions
        unserved = [submission for submission in self._queue if submission not in served]
        self._queue = unserved + [submission for submission in served if submission.waiting]
        return batch

    def _run(self, batch: Batch) -> None:
        submissions = batch.submissions
        if self._on_batch:
            self._on_batch(len(batch.rows))

        def on_token(position: int, token: int) -> None:
            submission, row = batch.rows[position]
            if submission.listener and not submission.is_abandoned:
                submission.listener.on_token(row, token)

        def is_cancelled() -> bool:
            return self._is_closing or all(submission.is_over for submission in submissions)

        is_followed = any(submission.listener for submission in submissions)
        watch = Watch(on_token=on_token if is_followed else None, is_cancelled=is_cancelled)
        started = time.monotonic()
        try:
            outputs = self._generator.generate(
                [submission.rows[row] for submission, row in batch.rows], batch.options, watch
            )
            seconds = time.monotonic() - started
            self._seconds_a_row += 0.2 * (seconds / len(batch.rows) - self._seconds_a_row)
            if any(output.finish_reason == "cancelled" for output in outputs):
                self._cancelled(submissions)
            else:
                self._deliver(batch, outputs, seconds)
        except Exception as error:
            self._failed(submissions, error)

    def _deliver(self, batch: Batch, outputs: Sequence[TextOutput], seconds: float) -> None:
        pairs = list(zip(batch.rows, outputs, strict=True))
        for submission in batch.submissions:
            submission.complete({row: output for (whose, row), output in pairs if whose is submission}, seconds)

    def _cancelled(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            self._drop(submission, ShuttingDown() if self._is_closing else DeadlineExceeded(submission.seconds))

    def _failed(self, submissions: list[Submission], error: Exception) -> None:
        if not isinstance(error, SlimseqError):
            logger.error("generation failed", exc_info=error, extra={"artifact": self._name})
        for submission in submissions:
            self._drop(submission, error if isinstance(error, SlimseqError) else GenerationFailed(self._name))

    def _drop(self, submission: Submission, error: Exception) -> None:
        self._unqueue(submission)
        submission.fail(error)

    def _unqueue(self, submission: Submission) -> None:
        with self._changed:
            if submission in self._queue:
                self._queue.remove(submission)
