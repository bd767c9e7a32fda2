"""Static batching, for runtimes whose rows start and end together.

Requests with the same options share batches, in the order of fair queueing
(`slimseq.app.serving.batching.request_queue`). Idle workers divide the rows that wait, and do not wait for more rows:
idle cores cost more than larger batches save. If a batch fails, it runs again in halves, so that only the failing row
fails.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass, field

from slimseq.app.serving.batching.request import QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue, by_virtual_finish
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions

# A request, and the index of one of its rows.
RequestRow = tuple[QueuedRequest, int]


@dataclass
class RowBatch:
    """Rows with equal options that run together.

    Attributes:
        reported: number of tokens that the listener of a row has received, including earlier runs.
    """

    options: GenerationOptions
    rows: list[RequestRow] = field(default_factory=list)
    reported: Counter[RequestRow] = field(default_factory=Counter)

    @property
    def requests(self) -> list[QueuedRequest]:
        return list(dict.fromkeys(request for request, _ in self.rows))

    def halves(self) -> list["RowBatch"]:
        """Returns two batches of the rows that are still awaited and can run again."""
        # Without a seed, a second run would sample other tokens than those already sent.
        is_random = self.options.do_sample and self.options.seed is None
        rows = []
        for request, row in self.rows:
            can_run_again = not is_random or not self.reported[request, row]
            if can_run_again and not request.is_over:
                rows.append((request, row))
        half = math.ceil(len(rows) / 2)
        return [RowBatch(self.options, part, self.reported) for part in (rows[:half], rows[half:]) if part]


class StaticBatching(RequestQueue):
    """Runs one batch after the other on each worker."""

    def _prepare(self) -> None:
        # Workers without a batch.
        self._idle = 0

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._run(batch)
            except BaseException:
                self._abandon_rows(batch.requests)
                raise

    def _next_batch(self) -> RowBatch | None:
        """Waits for rows. Returns None once closing."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            batch = None if self._is_closing else self._form_batch()
            self._idle -= 1
            if self._queue:
                self._changed.notify()
            return batch

    def _form_batch(self) -> RowBatch:
        """Takes the rows of the next batch from the queue, while it is locked. Of an empty queue the batch is empty."""
        self._queue = [request for request in self._queue if not request.is_over]
        if not self._queue:
            return RowBatch(GenerationOptions())

        batch = RowBatch(min(self._queue, key=by_virtual_finish).options)
        share = math.ceil(self._queued_rows() / self._idle)
        max_rows = self._limits.max_rows // batch.options.num_beams
        capacity = max(min(max_rows, share), 1)

        eligible = [request for request in self._queue if request.options == batch.options]
        allowed_rows = {request: _max_rows(request) for request in eligible}
        while eligible and len(batch.rows) < capacity:
            request = min(eligible, key=by_virtual_finish)
            batch.rows.append((request, self._take_row(request)))
            allowed_rows[request] -= 1
            if not request.waiting or not allowed_rows[request]:
                eligible.remove(request)
        return batch

    def _run(self, batch: RowBatch) -> None:
        requests = batch.requests
        if not requests:
            return
        if self._on_rows:
            self._on_rows(len(batch.rows))

        # By position of a row in the batch: its tokens in this run.
        generated = Counter[int]()

        def on_token(position: int, token: int) -> None:
            generated[position] += 1
            request, row = batch.rows[position]
            request.first_output = request.first_output or time.monotonic()
            # In a second run, the listener gets only tokens that it has not received.
            if generated[position] > batch.reported[request, row]:
                batch.reported[request, row] = generated[position]
                if request.listener and not request.is_abandoned:
                    request.listener.on_token(row, token)

        def is_cancelled() -> bool:
            return self._is_closing or all(request.is_over for request in requests)

        is_followed = any(request.listener for request in requests)
        callbacks = GenerationCallbacks(on_token=on_token if is_followed else None, is_cancelled=is_cancelled)
        started = time.monotonic()
        for request in requests:
            request.begin()
        try:
            outputs = self._generator.generate(
                [request.rows[row] for request, row in batch.rows], batch.options, callbacks
            )
            if any(output.finish_reason == "cancelled" for output in outputs):
                self._give_up(requests)
                return
            self._succeeded(time.monotonic() - started, len(batch.rows))
            pairs = list(zip(batch.rows, outputs, strict=True))
            for request in requests:
                request.complete({row: output for (owner, row), output in pairs if owner is request})
        except BaseException as error:
            self._recover(batch, error)

    def _recover(self, batch: RowBatch, error: BaseException) -> None:
        """Fails the row of a batch of one; runs the rows of a larger batch again in two batches."""
        halves = batch.halves() if len(batch.rows) > 1 else []
        running_again = {row for half in halves for row in half.rows}
        # The keys of a dictionary keep their order, as those of a set do not.
        failed_requests = dict.fromkeys(request for request, row in batch.rows if (request, row) not in running_again)
        if failed_requests:
            self._failed(failed_requests, error)
        for half in halves:
            self._run(half)


def _max_rows(request: QueuedRequest) -> int:
    """Returns how many rows of a request may join a batch.

    With beams nothing of a row is known before its batch ends. So a stream begins with a batch of one row, and each
    further batch has as many rows as were completed before: the first sentence comes early, and the whole text not much
    later.
    """
    is_stream_with_beams = request.listener is not None and request.options.num_beams > 1
    if is_stream_with_beams:
        return max(request.completed_rows, 1)
    return len(request.rows)
