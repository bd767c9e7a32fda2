"""Schedules rows one by one, for runtimes whose rows join and leave between steps (continuous batching).

Rows in flight share a budget of tokens that they are likely to come to, for that is what caches and steps cost. The
next row is one of the request with the fewest in flight, so that a long request leaves room for others; it waits until
the budget has room for it, so that a long row is not overtaken for ever. Encoders run a chunk at a time between steps,
so that neither new rows nor those in flight starve; a row that nobody waits for any more leaves at the next step.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.errors import DeadlineExceeded, ShuttingDown
from app.serving.stops import place_of_stop
from app.serving.submission import Submission
from app.serving.worker import Worker, WorkLimits
from models_store.generator import TextOutput
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Engine, Sequenced
from models_store.tokenizer import Encoding, TextStream

# Outputs are seldom longer than their source by so many tokens: room for all that they may be would stand empty.
LIKELY_MORE = 32


class EngineGenerator(Protocol):
    """The part of `models_store.generator.TextGenerator` that scheduling needs."""

    def engine(self) -> Engine | None:
        """Returns an engine with nothing in flight."""

    def stream(self) -> TextStream:
        """Returns a decoder for one row's ids as they come."""

    def output(self, encoding: Encoding, sequence: Sequenced) -> TextOutput:
        """Returns what an input has become as text."""


@dataclass(frozen=True)
class InFlight:
    """One row that an engine has."""

    submission: Submission
    row: int
    tokens: int
    started: float
    stream: TextStream | None = None
    written: list[str] = field(default_factory=list)

    def has_stopped(self, tokens: Sequence[int]) -> bool:
        """Takes a row's new tokens; says whether one of its stops has come."""
        if self.stream is None:
            return False
        self.written.extend(map(self.stream.push, tokens))
        return place_of_stop("".join(self.written), self.submission.stops) is not None


@dataclass
class Crew:
    """One thread's engine, and what is in flight there."""

    engine: Engine
    rows: dict[int, InFlight] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """What its rows are likely to come to."""
        return sum(each.tokens for each in self.rows.values())


class Scheduler(Worker):
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
        self._crews: list[Crew] = []
        self._workers = workers
        self._start(workers)

    def _work(self) -> None:
        crew = Crew(self._fresh_engine())
        with self._changed:
            self._crews.append(crew)
        while self._take_rows(crew):
            try:
                self._leave(crew)
                if crew.engine.waiting:
                    crew.engine.admit()
                self._step(crew)
            except Exception as error:
                # What an engine has in flight after an error is unknown: another one begins with nothing.
                self._failed({each.submission: None for each in crew.rows.values()}, error)
                with self._changed:
                    crew.rows.clear()
                crew.engine = self._fresh_engine()
        self._leave(crew)
        # An engine holds the model, whose memory is to come back once the generator is closed.
        with self._changed:
            self._crews.remove(crew)

    def _take_rows(self, crew: Crew) -> bool:
        """Gives an engine what the budget has room for, and waits where there is nothing; false once closing."""
        with self._changed:
            if not crew.rows:
                self._changed.wait_for(lambda: self._queue or self._is_closing)
            if self._is_closing:
                return False
            # Most steps find nobody waiting.
            if self._queue:
                self._fill(crew)
            return True

    def _fill(self, crew: Crew) -> None:
        """Gives an engine what the budget has room for; the queue is held."""
        self._queue = [submission for submission in self._queue if not submission.is_over]
        # What one engine could take alone, two finish sooner.
        share = -(-(self._queued_rows() + sum(len(each.rows) for each in self._crews)) // self._workers)
        budget = self._limits.max_tokens // self._workers - crew.tokens
        while self._queue and len(crew.rows) < share:
            submission = self._next()
            encoding = submission.rows[submission.waiting[0]]
            tokens = tokens_of(encoding, submission.options)
            if tokens > budget and crew.rows:
                break
            budget -= tokens
            self._start_row(crew, submission, submission.waiting.popleft(), tokens)
            if not submission.waiting:
                self._queue.remove(submission)
        if self._queue:
            self._changed.notify()

    def _next(self) -> Submission:
        """Returns the request that has the fewest rows in flight, of several the one that has waited longest."""
        rows = dict.fromkeys(self._queue, 0)
        for crew in self._crews:
            for each in crew.rows.values():
                if each.submission in rows:
                    rows[each.submission] += 1
        return min(self._queue, key=lambda submission: rows[submission])

    def _start_row(self, crew: Crew, submission: Submission, row: int, tokens: int) -> None:
        submission.begin()
        key = crew.engine.add(submission.rows[row].ids, submission.options)
        stream = self._generator.stream() if submission.stops else None
        crew.rows[key] = InFlight(submission, row, tokens, time.monotonic(), stream)

    def _leave(self, crew: Crew) -> None:
        """Takes out the rows that nobody waits for, or all of them once closing."""
        over = {each.submission: None for each in crew.rows.values() if self._is_closing or each.submission.is_over}
        if not over:
            return
        keys = [key for key, each in crew.rows.items() if each.submission in over]
        crew.engine.drop(keys)
        with self._changed:
            for key in keys:
                del crew.rows[key]
        for submission in over:
            self._drop(submission, ShuttingDown() if self._is_closing else DeadlineExceeded(submission.seconds))

    def _step(self, crew: Crew) -> None:
        if self._on_rows and crew.rows:
            self._on_rows(len(crew.rows))
        for key, progress in crew.engine.step().items():
            flight = crew.rows[key]
            submission = flight.submission
            if submission.listener and not submission.is_abandoned:
                for token in progress.tokens:
                    submission.listener.on_token(flight.row, token)
            ended = progress.ended
            if ended is None and flight.has_stopped(progress.tokens):
                ended = crew.engine.drop([key])[key]
            if ended is not None:
                with self._changed:
                    del crew.rows[key]
                output = self._generator.output(submission.rows[flight.row], ended)
                submission.complete({flight.row: output})
                self._succeeded((time.monotonic() - flight.started) / (len(crew.rows) + 1))

    def _fresh_engine(self) -> Engine:
        engine = self._generator.engine()
        assert engine is not None, "a scheduler is made for runtimes with an engine alone"
        return engine


def tokens_of(encoding: Encoding, options: GenerationOptions) -> int:
    """Returns what a row is likely to come to: its source, which its beams share, and what each beam writes."""
    likely = min(options.max_new_tokens, max(len(encoding.ids) + LIKELY_MORE, options.min_new_tokens))
    return len(encoding.ids) + options.num_beams * likely
