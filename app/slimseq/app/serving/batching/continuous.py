"""Continuous batching: rows join and leave an engine between steps (Orca, Yu et al. 2022).

A worker thread has one engine. In a loop it assigns queued rows to the engine (`_take_rows`), drops rows that nobody
awaits, adds the new ones, runs their encoder, and makes a decoder step (`_advance`).

- Rows start in the order of fair queueing (`slimseq.app.serving.batching.request_queue`).
- Running rows share a budget of expected tokens, which bounds the memory of caches, and one of hypotheses, which bounds
  the time of a step. The next row waits until both have enough left, so that a long row does not starve.
- A part of the tokens is reserved for short rows of requests with few rows. They start at the next step, unless many of
  their kind run.
- The encoder runs one chunk at a time between steps, so that neither new nor running rows starve. Beside many rows in
  flight, short new rows wait a few steps for others to share an encoder run.

After an error, the rows of the engine run again in halves until the failing row is found, so that only that row fails.
The outputs of the others do not change, since outputs are batch-invariant.
"""

import contextlib
import itertools
import math
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from slimseq.app.serving.batching.request import QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue, by_virtual_finish
from slimseq.inference.generator import place_of_stop
from slimseq.inference.runtime import Engine
from slimseq.inference.tokenizer import TextStream
from slimseq.models_store.generation import ForcedOptions, GenerationOptions

# A request has few rows up to this number.
FEW_ROWS = 4
# Hypotheses of one step: all beams of its rows. With more, a step takes longer for all, and hardly more is done
# (docs/decisions/007-the-engine.md). Requests with few rows have a limit of their own beside that of the others.
MAX_HYPOTHESES = 64
# The lower limit of requests with few rows while an engine's share of all rows is small. Waiting for a row in flight
# then takes less time than slowing it, unless the rows in flight are twice as long.
MAX_HYPOTHESES_OF_FEW = 16
# From this number of hypotheses on, the share is large.
LARGE_SHARE_HYPOTHESES = 44
# 1/8 of the tokens is reserved for short rows of requests with few rows. A short row uses at most 1/4 of the reserve.
RESERVE_DIVISOR = 8
SHORT_DIVISOR = 4
SEED_BITS = 63
# Time without rows after which an engine gives back the memory that it keeps for the next ones. It is less than
# `serving.heap.TRIM_SECONDS`, so that the heap is trimmed afterwards.
IDLE_SECONDS = 5.0
# Input tokens of one encoder run. Further rows stay in the queue, so that a short one of another request is next.
MAX_ENCODED_TOKENS = 384
# The same beside rows in flight. Such a run takes as long as a step of 48 hypotheses.
MAX_ENCODED_TOKENS_BESIDE = 128
# An encoder run of two or three short rows takes little more time than that of one: at width 256 the first row costs
# 1.6 ms, each further one 0.4 ms. So beside at least `MIN_BUSY_ROWS` in flight, new rows wait up to `MAX_WAITED_STEPS`
# steps, until there are `ROWS_TOGETHER` of them or they have more than `TOKENS_TOGETHER` input tokens.
MIN_BUSY_ROWS = 8
ROWS_TOGETHER = 3
TOKENS_TOGETHER = 64
MAX_WAITED_STEPS = 3


@dataclass
class InFlight:
    """A row that an engine runs. If it samples, its options have a seed, so that it can run again.

    Attributes:
        row: index of the row in its request.
        tokens: its expected tokens, which count for the budget.
        is_reserved: whether `tokens` count for the reserve for short rows instead of the budget.
        started: time of `time.monotonic`.
        reported: number of tokens that the listener has received, including earlier runs.
        generated: number of tokens of this run.
        steps: number of decoder steps that the row was in.
        rows_of_steps: sum of the numbers of rows in these steps. Divided by `steps`, it is the mean number of rows that
            shared a step.
        stream: decodes tokens for the search of stop strings, None without stop strings.
        written: the decoded text of this run, in pieces.
    """

    request: QueuedRequest
    row: int
    options: GenerationOptions
    tokens: int
    is_reserved: bool
    started: float = field(default_factory=time.monotonic)
    reported: int = 0
    generated: int = 0
    steps: int = 0
    rows_of_steps: int = 0
    stream: TextStream | None = None
    written: list[str] = field(default_factory=list)

    def begin_run(self, stream: TextStream | None) -> None:
        """Begins the first run of the row, or a further one. The number of reported tokens is kept."""
        self.generated = 0
        self.stream = stream
        self.written = []

    def report(self, tokens: Sequence[int]) -> None:
        """Passes the listener the tokens that it has not received yet."""
        listener = self.request.listener
        for token in tokens:
            self.generated += 1
            if self.generated > self.reported:
                self.reported = self.generated
                if listener and not self.request.is_abandoned:
                    listener.on_token(self.row, token)

    def has_stopped(self, tokens: Sequence[int]) -> bool:
        """Adds new tokens of the row. Returns whether its text has a stop string."""
        if self.stream is None:
            return False
        self.written.extend(map(self.stream.push, tokens))
        return place_of_stop("".join(self.written), self.request.stops) is not None


@dataclass
class EngineWorker:
    """The engine of one thread, and its rows.

    Attributes:
        number: number of the worker, which is the index of its core if the thread is bound to one.
        engine: None before the first row, and after an error.
        rows: the rows in the engine, by the engine's key.
        joining: the rows that join the engine before the next step.
        retries: groups of rows that shared an engine when it failed. They run again, one group after the other.
        waiting: numbers of input tokens of the rows that were added, in order. The last `engine.waiting` of these rows
            still wait for the encoder.
        waited_steps: number of steps for which rows have waited for the encoder.
        is_bound: whether the thread is bound to a core.
        is_idle: whether it has waited for rows for `IDLE_SECONDS`.
    """

    number: int
    engine: Engine | None = None
    rows: dict[int, InFlight] = field(default_factory=dict)
    joining: list[InFlight] = field(default_factory=list)
    retries: list[list[InFlight]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    waited_steps: int = 0
    is_bound: bool = False
    is_idle: bool = False

    def __len__(self) -> int:
        return len(self.rows) + len(self.joining)

    def tokens(self, *, is_reserved: bool) -> int:
        """Returns the expected tokens of its rows that count for the reserve, or of the others."""
        return sum(each.tokens for each in self.rows.values() if each.is_reserved is is_reserved)

    def forget_encoded(self) -> None:
        """Removes the rows from `waiting` that the encoder has run."""
        waiting_rows = self.engine.waiting if self.engine else 0
        encoded_rows = len(self.waiting) - waiting_rows
        self.waiting = self.waiting[encoded_rows:]

    def admit(self, engine: Engine) -> None:
        """Runs the encoder for rows that wait, unless they should wait for others to share the run."""
        decoding_rows = len(engine) - engine.waiting
        may_wait = decoding_rows >= MIN_BUSY_ROWS and self.waited_steps < MAX_WAITED_STEPS
        if may_wait and engine.waiting < ROWS_TOGETHER and sum(self.waiting) <= TOKENS_TOGETHER:
            self.waited_steps += 1
            return
        engine.admit()
        # If rows are left, since they are long, they must not wait again: their next chunk runs at the next step.
        self.waited_steps = MAX_WAITED_STEPS if engine.waiting else 0


class NextStart(NamedTuple):
    """The request whose next row starts, and whether this row counts for the reserve for short rows."""

    request: QueuedRequest
    is_reserved: bool


class EngineCapacity:
    """What the rows of an engine leave of its limits: rows, tokens, hypotheses, and tokens of the next encoder run."""

    def __init__(self, worker: EngineWorker, *, max_rows: int, max_tokens: int, reserve: int) -> None:
        """Computes what is left.

        Args:
            worker: the engine and its rows. Rows that start later are added by `take`.
            max_rows: the engine's share of all rows, queued and in flight.
            max_tokens: limit of the expected tokens of its rows.
            reserve: limit of the expected tokens of its reserved rows, which do not count for `max_tokens`.
        """
        reserved_tokens = worker.tokens(is_reserved=True)
        other_tokens = worker.tokens(is_reserved=False)
        self._worker = worker
        self._max_rows = max_rows
        self._tokens_left = max_tokens - other_tokens
        self._reserve_left = reserve - reserved_tokens
        self._max_tokens_of_short_row = reserve // SHORT_DIVISOR
        self._mean_tokens = (reserved_tokens + other_tokens) / max(len(worker.rows), 1)
        # The hypotheses of requests with few rows (True), and of others (False).
        self._hypotheses = Counter[bool]()
        for each in worker.rows.values():
            self._hypotheses[_has_few_rows(each.request)] += each.options.num_beams
        max_encoded = MAX_ENCODED_TOKENS_BESIDE if worker.rows else MAX_ENCODED_TOKENS
        self._encoder_tokens_left = max_encoded - sum(worker.waiting)

    def next_start(self, queue: Sequence[QueuedRequest]) -> NextStart | None:
        """Returns which request's next row may start now. None if the engine has no capacity for any."""
        if len(self._worker) >= self._max_rows or self._encoder_tokens_left <= 0:
            return None
        startable = [each for each in queue if self._has_hypotheses_left(each)]
        if not startable:
            return None

        request = min(startable, key=by_virtual_finish)
        is_engine_empty = len(self._worker) == 0
        # An engine without rows takes any row, however long.
        if request.next_tokens <= self._tokens_left or is_engine_empty:
            return NextStart(request, is_reserved=False)

        # The next row does not fit. Only a short one may start, within the reserve.
        max_tokens = min(self._max_tokens_of_short_row, self._reserve_left)
        short = [each for each in startable if _has_few_rows(each) and each.next_tokens <= max_tokens]
        if not short:
            return None
        return NextStart(min(short, key=by_virtual_finish), is_reserved=True)

    def take(self, started: InFlight) -> None:
        """Subtracts a row that was started."""
        if started.is_reserved:
            self._reserve_left -= started.tokens
        else:
            self._tokens_left -= started.tokens
        self._hypotheses[_has_few_rows(started.request)] += started.options.num_beams
        self._encoder_tokens_left -= len(started.request.rows[started.row].ids)

    def _has_hypotheses_left(self, request: QueuedRequest) -> bool:
        max_hypotheses = _max_hypotheses(request, self._max_rows, self._mean_tokens)
        return self._hypotheses[_has_few_rows(request)] < max_hypotheses


class ContinuousBatching(RequestQueue):
    """Runs queued rows on engines, one for each thread. The engines share the weights of the model."""

    def _prepare(self) -> None:
        self._workers: list[EngineWorker] = []
        # The cores of this process if there is exactly one for each worker, else none.
        cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        self._cores = cores if len(cores) == len(self._threads) else []
        self._budget = self._limits.max_tokens // len(self._threads)
        self._reserve = self._budget // RESERVE_DIVISOR

    def _work(self) -> None:
        with self._changed:
            worker = EngineWorker(len(self._workers))
            self._workers.append(worker)
        try:
            while self._take_rows(worker):
                if len(worker):
                    self._advance(worker)
                elif worker.is_idle:
                    self._trim(worker)
        finally:
            self._end(worker)

    def _advance(self, worker: EngineWorker) -> None:
        """Makes a step with the rows of an engine."""
        if self._cores:
            self._keep_to_core(worker)
        try:
            self._drop_unawaited(worker)
            engine = self._add_joining(worker)
            if engine.waiting:
                worker.admit(engine)
            self._step(worker, engine)
        except BaseException as error:
            self._recover(worker, error)

    def _trim(self, worker: EngineWorker) -> None:
        """Gives back the memory that an engine without rows keeps."""
        try:
            if worker.engine is not None:
                worker.engine.trim()
        except BaseException as error:
            self._recover(worker, error)

    def _end(self, worker: EngineWorker) -> None:
        """Fails the rows of a worker that ends."""
        flights = [*worker.rows.values(), *worker.joining, *itertools.chain(*worker.retries)]
        with self._changed:
            # The engine references the model, which must be freed when the generator closes.
            self._workers.remove(worker)
            worker.engine = None
            worker.rows.clear()
        self._abandon_rows(dict.fromkeys(flight.request for flight in flights))

    def _take_rows(self, worker: EngineWorker) -> bool:
        """Assigns rows to an engine within the budget, and waits if there are none. Returns False once closing."""
        with self._changed:
            if not worker.rows and not worker.retries:
                # Once an engine is trimmed, there is nothing more to do.
                seconds = None if worker.is_idle else IDLE_SECONDS
                worker.is_idle = not self._changed.wait_for(lambda: self._queue or self._is_closing, seconds)
            if self._is_closing:
                return False
            if worker.retries:
                # The next group starts when the engine is empty. No new rows join a retry, so that a second failure
                # does not affect them.
                if not worker.rows:
                    worker.joining = [each for each in worker.retries.pop() if not each.request.is_over]
            elif self._queue:
                # Usually the queue is empty, and there is nothing to fill.
                self._fill(worker)
            return True

    def _keep_to_core(self, worker: EngineWorker) -> None:
        """Binds the thread of a worker to a core of its own while all workers have rows, else to none.

        Left alone, Linux lets two of them share a core for milliseconds while another one idles.
        """
        all_have_rows = all(map(len, self._workers))
        is_bound = all_have_rows and len(self._workers) == len(self._cores)
        if is_bound is not worker.is_bound and sys.platform == "linux":
            worker.is_bound = is_bound
            cores = [self._cores[worker.number]] if is_bound else self._cores
            # A container may have lost the core, or may not choose.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, cores)

    def _fill(self, worker: EngineWorker) -> None:
        """Assigns rows to an engine within the budget, while the queue is locked."""
        self._queue = [request for request in self._queue if not request.is_over]

        # Rows are divided evenly among the engines, rounded up.
        in_flight = sum(map(len, self._workers))
        share = math.ceil((self._queued_rows() + in_flight) / len(self._threads))

        worker.forget_encoded()
        capacity = EngineCapacity(worker, max_rows=share, max_tokens=self._budget, reserve=self._reserve)
        while self._queue:
            start = capacity.next_start(self._queue)
            if start is None:
                break
            started = self._start_row(start.request, is_reserved=start.is_reserved)
            worker.joining.append(started)
            capacity.take(started)
        if self._queue:
            # Another worker may have capacity for the rest.
            self._changed.notify()

    def _start_row(self, request: QueuedRequest, *, is_reserved: bool) -> InFlight:
        """Takes the next row of a request from the queue."""
        # `_take_row` changes `next_tokens` to those of the row after it.
        tokens = request.next_tokens
        row = self._take_row(request)
        request.begin()
        options = request.options
        given_output = request.rows[row].output
        if given_output:
            options = ForcedOptions(max_new_tokens=len(given_output.ids), forced_ids=given_output.ids)
        if options.do_sample and options.seed is None:
            # With a seed, a retry samples the same tokens.
            options = options.model_copy(update={"seed": secrets.randbits(SEED_BITS)})
        return InFlight(request, row, options, tokens, is_reserved)

    def _add_joining(self, worker: EngineWorker) -> Engine:
        """Adds the joining rows to the engine of a thread. After an error it is a new engine."""
        if worker.engine is None:
            worker.engine = self._generator.engine()
        assert worker.engine is not None, "continuous batching needs a runtime with an engine"
        while worker.joining:
            flight = worker.joining[0]
            request = flight.request
            stops = request.stops_of(flight.row)
            flight.begin_run(self._generator.stream() if stops else None)
            # Streamed rows report tokens once they are final. Listeners and the search of stop strings need that.
            is_streamed = request.listener is not None or bool(stops)
            ids = request.rows[flight.row].ids
            # A stop string would end the row in the middle of a step, and `output_tokens` depend on the step.
            options = flight.options.without_speculation() if stops else flight.options
            key = worker.engine.add(ids, options, is_streamed=is_streamed)
            worker.waiting.append(len(ids))
            if flight.is_reserved:
                worker.waited_steps = MAX_WAITED_STEPS
            with self._changed:
                worker.rows[key] = worker.joining.pop(0)
        return worker.engine

    def _recover(self, worker: EngineWorker, error: BaseException) -> None:
        """Fails the row if it is the only one; else schedules the rows of the engine to run again in two groups."""
        flights = [*worker.rows.values(), *worker.joining]
        with self._changed:
            # The state of an engine after an error is unknown: a new one is made.
            worker.rows.clear()
            worker.joining.clear()
            worker.engine = None
            if len(flights) > 1:
                half = len(flights) // 2
                worker.retries += [flights[half:], flights[:half]]
        if len(flights) == 1:
            self._failed([flights[0].request], error)

    def _drop_unawaited(self, worker: EngineWorker) -> None:
        """Drops the rows that nobody awaits any more."""
        keys = [key for key, each in worker.rows.items() if each.request.is_over]
        over = {worker.rows[key].request: None for key in keys}
        if keys and worker.engine is not None:
            worker.engine.drop(keys)
        with self._changed:
            for key in keys:
                del worker.rows[key]
        self._give_up(over)

    def _step(self, worker: EngineWorker, engine: Engine) -> None:
        """Makes a decoder step, reports its tokens, and completes the rows that have ended."""
        rows = len(worker.rows)
        if self._on_rows and rows:
            self._on_rows(rows)
        for key, progress in engine.step().items():
            flight = worker.rows[key]
            flight.steps += 1
            flight.rows_of_steps += rows
            request = flight.request
            request.first_step = request.first_step or time.monotonic()
            flight.report(progress.tokens)
            ended = progress.ended
            if ended is None and flight.has_stopped(progress.tokens):
                ended = engine.drop([key])[key]
            if ended is not None:
                if self._on_accepted and ended.steps:
                    self._on_accepted(len(ended.ids) / ended.steps)
                output = self._generator.output(request.rows[flight.row], ended)
                with self._changed:
                    del worker.rows[key]
                request.complete({flight.row: output})
                mean_rows = flight.rows_of_steps / flight.steps
                self._succeeded(time.monotonic() - flight.started, mean_rows)


def _has_few_rows(request: QueuedRequest) -> bool:
    return len(request.rows) <= FEW_ROWS


def _max_hypotheses(request: QueuedRequest, share: int, mean_tokens: float) -> int:
    """Returns how many hypotheses an engine may run of requests like this one.

    `share` is the engine's share of all rows, `mean_tokens` the mean of the expected tokens of the rows in flight.
    """
    is_large_share = share * request.options.num_beams > LARGE_SHARE_HYPOTHESES
    are_others_much_longer = mean_tokens >= 2 * request.next_tokens
    if _has_few_rows(request) and not is_large_share and not are_others_much_longer:
        return MAX_HYPOTHESES_OF_FEW
    return MAX_HYPOTHESES
