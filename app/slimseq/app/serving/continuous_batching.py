"""Continuous batching: rows join and leave an engine between steps (Orca, Yu et al. 2022).

Rows in flight share a budget of tokens that they are likely to come to, for that is what caches and steps cost. Which
request gets the next row is fair queueing's to say (`slimseq.app.serving.request_queue`). It waits until the budget has
enough left, so that a long row is not overtaken for ever; a part of the budget is kept for short rows, which so begin
at the next step. Encoders run a chunk at a time between steps, so that neither new rows nor those in flight starve; a
row that nobody waits for any more leaves at the next step.

A row that fails, fails alone: after an error the rows of the engine run again, in halves, until the one that breaks is
found. The others answer as they would have, since no output depends on what shares its steps.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slimseq.app.errors import DeadlineExceeded, ShuttingDown
from slimseq.app.serving.request import QueuedRequest
from slimseq.app.serving.request_queue import RequestQueue, WorkLimits, by_virtual_finish
from slimseq.app.serving.stops import place_of_stop
from slimseq.inference.generator import TextOutput
from slimseq.inference.runtime import Engine, GeneratedSequence
from slimseq.inference.tokenizer import Encoding, TextStream
from slimseq.models_store.manifest import GenerationOptions

# The part of an engine's budget that is kept for short rows, and the part of that which a short row takes at most.
RESERVED_PART = 8
SHORT_PART = 4
SEED_BITS = 63


class EngineGenerator(Protocol):
    """The part of `slimseq.inference.generator.TextGenerator` that scheduling needs."""

    def engine(self) -> Engine | None:
        """Returns an engine with nothing in flight."""

    def stream(self) -> TextStream:
        """Returns a decoder for one row's ids as they come."""

    def output(self, encoding: Encoding, sequence: GeneratedSequence) -> TextOutput:
        """Returns what an input has become as text."""


@dataclass
class InFlight:
    """One row that an engine has.

    Args:
        request: whose row it is.
        row: its place there.
        options: the submission's, with a seed where it samples, so that it can run again.
        tokens: what it is likely to come to.
        is_reserved: whether these are of the part of the budget that is kept for short rows.
        reported: how many of its tokens the submission's listener has got, in an earlier run too.
    """

    request: QueuedRequest
    row: int
    options: GenerationOptions
    tokens: int
    is_reserved: bool
    started: float = field(default_factory=time.monotonic)
    reported: int = 0
    generated: int = 0
    stream: TextStream | None = None
    written: list[str] = field(default_factory=list)

    def restart(self, stream: TextStream | None) -> None:
        """Begins anew, with what was reported remembered."""
        self.generated = 0
        self.stream = stream
        self.written = []

    def report(self, tokens: Sequence[int]) -> None:
        """Gives the listener the tokens that it has not got yet."""
        listener = self.request.listener
        for token in tokens:
            self.generated += 1
            if self.generated > self.reported:
                self.reported = self.generated
                if listener and not self.request.is_abandoned:
                    listener.on_token(self.row, token)

    def has_stopped(self, tokens: Sequence[int]) -> bool:
        """Takes a row's new tokens; says whether one of its stops has come."""
        if self.stream is None:
            return False
        self.written.extend(map(self.stream.push, tokens))
        return place_of_stop("".join(self.written), self.request.stops) is not None


@dataclass
class EngineWorker:
    """One thread's engine, the rows there by their keys, and those that are to join it.

    `retries` are groups of rows that shared an engine when it broke; they run again, one group after the other.
    """

    engine: Engine | None = None
    rows: dict[int, InFlight] = field(default_factory=dict)
    joining: list[InFlight] = field(default_factory=list)
    retries: list[list[InFlight]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows) + len(self.joining)

    def tokens(self, *, is_reserved: bool) -> int:
        """What its rows are likely to come to, of one part of the budget."""
        return sum(each.tokens for each in self.rows.values() if each.is_reserved is is_reserved)


class ContinuousBatching(RequestQueue):
    """Keeps engines busy with what waits, one a thread; they share the model's weights."""

    def __init__(
        self,
        generator: EngineGenerator,
        name: str,
        limits: WorkLimits | None = None,
        workers: int = 1,
        on_rows: Callable[[int], None] | None = None,
    ) -> None:
        """Starts the threads.

        Args:
            generator: whose engines run; used by the threads alone.
            name: names the artifact in errors and threads.
            limits: the budget of tokens, which the threads share, and the size of the queue.
            workers: engines that run at a time.
            on_rows: told at each step how many rows share it.
        """
        super().__init__(name, limits or WorkLimits(), on_rows)
        self._generator = generator
        self._workers: list[EngineWorker] = []
        self._budget = self._limits.max_tokens // workers
        self._reserve = self._budget // RESERVED_PART
        self._count = workers
        self._start(workers)

    def _work(self) -> None:
        worker = EngineWorker()
        with self._changed:
            self._workers.append(worker)
        while self._take_rows(worker):
            if not len(worker):
                continue
            try:
                self._leave(worker)
                engine = self._join(worker)
                if engine.waiting:
                    engine.admit()
                self._step(worker, engine)
            except Exception as error:
                self._recover(worker, error)
        self._leave(worker)
        # An engine holds the model, whose memory is to come back once the generator is closed.
        with self._changed:
            self._workers.remove(worker)

    def _take_rows(self, worker: EngineWorker) -> bool:
        """Gives an engine what the budget allows, and waits where there is nothing; false once closing."""
        with self._changed:
            if not worker.rows and not worker.retries:
                self._changed.wait_for(lambda: self._queue or self._is_closing)
            if self._is_closing:
                return False
            if worker.retries:
                # Nobody joins them: a row that breaks again takes no more rows with it.
                if not worker.rows:
                    worker.joining = [each for each in worker.retries.pop() if not each.request.is_over]
            elif self._queue:
                # Most steps find nobody waiting.
                self._fill(worker)
            return True

    def _fill(self, worker: EngineWorker) -> None:
        """Gives an engine what the budget allows; the queue is held."""
        self._queue = [request for request in self._queue if not request.is_over]
        # What one engine could take alone, two finish sooner.
        in_flight = sum(map(len, self._workers))
        share = -(-(self._queued_rows() + in_flight) // self._count)
        budget = self._budget - worker.tokens(is_reserved=False)
        reserve = self._reserve - worker.tokens(is_reserved=True)
        while self._queue and len(worker) < share:
            request = min(self._queue, key=by_virtual_finish)
            if is_reserved := request.next_tokens > budget and len(worker) > 0:
                most = min(self._reserve // SHORT_PART, reserve)
                short = [each for each in self._queue if each.next_tokens <= most]
                if not short:
                    break
                request = min(short, key=by_virtual_finish)
                reserve -= request.next_tokens
            else:
                budget -= request.next_tokens
            worker.joining.append(self._start_row(request, is_reserved=is_reserved))
        if self._queue:
            self._changed.notify()

    def _start_row(self, request: QueuedRequest, *, is_reserved: bool) -> InFlight:
        tokens = request.next_tokens
        row = self._take_row(request)
        request.begin()
        options = request.options
        if options.do_sample and options.seed is None:
            # What is drawn is drawn again where the row has to run again.
            options = options.model_copy(update={"seed": secrets.randbits(SEED_BITS)})
        return InFlight(request, row, options, tokens, is_reserved)

    def _join(self, worker: EngineWorker) -> Engine:
        """Hands the rows that are to join to a thread's engine; after an error that is a new one."""
        if worker.engine is None:
            worker.engine = self._generator.engine()
        assert worker.engine is not None, "a scheduler is made for runtimes with an engine alone"
        while worker.joining:
            flight = worker.joining[0]
            request = flight.request
            flight.restart(self._generator.stream() if request.stops else None)
            key = worker.engine.add(request.rows[flight.row].ids, flight.options)
            with self._changed:
                worker.rows[key] = worker.joining.pop(0)
        return worker.engine

    def _recover(self, worker: EngineWorker, error: Exception) -> None:
        """Fails the row that broke an engine where it is known, and has the others run again in two groups."""
        flights = [*worker.rows.values(), *worker.joining]
        with self._changed:
            # What an engine has in flight after an error is unknown: another one begins with nothing.
            worker.rows.clear()
            worker.joining.clear()
            worker.engine = None
            if len(flights) > 1:
                half = len(flights) // 2
                worker.retries += [flights[half:], flights[:half]]
        if len(flights) == 1:
            self._failed([flights[0].request], error)

    def _leave(self, worker: EngineWorker) -> None:
        """Takes out the rows that nobody waits for, or all of them once closing."""
        keys = [key for key, each in worker.rows.items() if self._is_closing or each.request.is_over]
        over = {worker.rows[key].request: None for key in keys}
        if keys and worker.engine is not None:
            worker.engine.drop(keys)
        with self._changed:
            for key in keys:
                del worker.rows[key]
            if self._is_closing:
                over |= {each.request: None for group in (worker.joining, *worker.retries) for each in group}
                worker.joining.clear()
                worker.retries.clear()
        for request in over:
            self._drop(request, ShuttingDown() if self._is_closing else DeadlineExceeded(request.seconds))

    def _step(self, worker: EngineWorker, engine: Engine) -> None:
        if self._on_rows and worker.rows:
            self._on_rows(len(worker.rows))
        for key, progress in engine.step().items():
            flight = worker.rows[key]
            request = flight.request
            flight.report(progress.tokens)
            ended = progress.ended
            if ended is None and flight.has_stopped(progress.tokens):
                ended = engine.drop([key])[key]
            if ended is not None:
                output = self._generator.output(request.rows[flight.row], ended)
                with self._changed:
                    del worker.rows[key]
                request.complete({flight.row: output})
                self._succeeded((time.monotonic() - flight.started) / (len(worker.rows) + 1))
