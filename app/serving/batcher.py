"""Batches the rows of requests that arrive together, for runtimes whose rows start and end together.

Requests with the same options share batches; each batch takes rows of them in turn, so that a long request does not
keep short ones waiting for its end. A worker waits a little for company, but not where requests come one by one: they
would wait for nothing. What generates is only asked to `generate`; loading it is the pool's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.errors import DeadlineExceeded, ShuttingDown
from app.serving.submission import Submission
from app.serving.worker import Worker, WorkLimits
from models_store.generator import TextOutput
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Watch
from models_store.tokenizer import Encoding

# For so many seconds after requests have met, others are expected to.
MEETING_SECONDS = 1.0


class BatchGenerator(Protocol):
    """The part of `models_store.generator.TextGenerator` that batching needs."""

    def generate(
        self, inputs: Sequence[Encoding], options: GenerationOptions, watch: Watch | None = None
    ) -> list[TextOutput]:
        """Generates one output for each input, as one batch."""


@dataclass
class Batch:
    """Rows that run together: `(submission, row)` pairs of equal options."""

    options: GenerationOptions
    rows: list[tuple[Submission, int]] = field(default_factory=list)

    @property
    def submissions(self) -> list[Submission]:
        """Whose rows they are, each once."""
        return list(dict.fromkeys(submission for submission, _ in self.rows))


class Batcher(Worker):
    """Forms one batch after the other."""

    def __init__(
        self,
        generator: BatchGenerator,
        name: str,
        limits: WorkLimits | None = None,
        workers: int = 1,
        on_rows: Callable[[int], None] | None = None,
    ) -> None:
        """Starts the threads.

        Args:
            generator: what generates; used by the threads alone.
            name: names the artifact in errors and threads.
            limits: sizes of batches and queue.
            workers: batches that run at a time.
            on_rows: told each batch's rows when it starts.
        """
        super().__init__(name, limits or WorkLimits(), on_rows)
        self._generator = generator
        self._running = 0
        # When a request last found another there.
        self._met = -MEETING_SECONDS
        self._start(workers)

    def _arrived(self, submission: Submission) -> None:
        """Notes when requests meet."""
        if self._running or self._queue:
            self._met = submission.arrival

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch.rows:
                self._run(batch)

    def _next_batch(self) -> Batch | None:
        """Waits for rows, then perhaps a little longer for others to join them; None once closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            if self._queue and self._queue[0].arrival - self._met < MEETING_SECONDS:
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
        if self._on_rows:
            self._on_rows(len(batch.rows))

        def on_token(position: int, token: int) -> None:
            submission, row = batch.rows[position]
            if submission.listener and not submission.is_abandoned:
                submission.listener.on_token(row, token)

        def is_cancelled() -> bool:
            return self._is_closing or all(submission.is_over for submission in submissions)

        is_followed = any(submission.listener for submission in submissions)
        watch = Watch(on_token=on_token if is_followed else None, is_cancelled=is_cancelled)
        started = time.monotonic()
        for submission in submissions:
            submission.begin()
        try:
            outputs = self._generated(batch, watch)
            self._succeeded((time.monotonic() - started) / len(batch.rows))
            if any(output.finish_reason == "cancelled" for output in outputs):
                self._cancelled(submissions)
            else:
                self._deliver(batch, outputs)
        except Exception as error:
            self._failed(submissions, error)

    def _generated(self, batch: Batch, watch: Watch) -> list[TextOutput]:
        with self._changed:
            self._running += 1
        try:
            return self._generator.generate(
                [submission.rows[row] for submission, row in batch.rows], batch.options, watch
            )
        finally:
            # Before anybody is told: what a client asks for next meets nothing of its own.
            with self._changed:
                self._running -= 1

    def _deliver(self, batch: Batch, outputs: Sequence[TextOutput]) -> None:
        pairs = list(zip(batch.rows, outputs, strict=True))
        for submission in batch.submissions:
            submission.complete({row: output for (whose, row), output in pairs if whose is submission})

    def _cancelled(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            self._drop(submission, ShuttingDown() if self._is_closing else DeadlineExceeded(submission.seconds))
