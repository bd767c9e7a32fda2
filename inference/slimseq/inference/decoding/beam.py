"""Beam search with transformers' rules, so that the same weights give the same token ids.

The rules are those of `GenerationMixin._beam_search` (transformers 4.57): twice as many candidates as beams,
finished ones scored by log-probability over length to the power of the length penalty, and an end once the best
open beam cannot beat the worst finished one. Inputs are decided each for itself, whatever their ages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.rules import Rules, allowed
from slimseq.inference.decoding.scores import Ids, Scores, StepScores, best_first
from slimseq.inference.decoding.search import Advance, finish_reason
from slimseq.inference.decoding.table import joined, kept
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.manifest import GenerationOptions

NEVER = np.float32(-1.0e9)
# Beyond twice the beams, so that a forbidden token or two need no look at the whole vocabulary.
SPARE = 2


@dataclass
class Running:
    """Open hypotheses of every input: `ids` `(inputs, beams, length)`, `scores` `(inputs, beams)`."""

    ids: Ids
    scores: Scores


@dataclass
class Finished(Running):
    """The best finished hypotheses of every input, best first, where there are some.

    `lengths` counts each one's new tokens; both `(inputs, beams)`.
    """

    lengths: Ids
    is_finished: NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """The best continuations of every input, best first, each `(inputs, 2 * beams)`."""

    tokens: Ids
    # Which of its input's beams each continues.
    origins: Ids
    scores: Scores


class BeamSearch:
    """`num_beams` rows an input."""

    needs_log_sum_exp = True

    def __init__(self, configuration: ModelConfiguration, num_beams: int) -> None:
        self.num_beams = num_beams
        self.top = min(2 * num_beams + SPARE, configuration.vocabulary)
        self._configuration = configuration
        self._beams = np.arange(num_beams)
        self._rules = Rules.of([])
        # How many new tokens each input's hypotheses have, `(inputs,)`.
        self._lengths: Ids = np.zeros(0, dtype=np.int64)
        self._running, self._finished = self._blank([])
        self._settle()

    def __len__(self) -> int:
        return len(self._lengths)

    def join(self, options: Sequence[GenerationOptions]) -> None:
        """Adds inputs, as `Search.join` says."""
        running, finished = self._blank(options)
        # Only the first beam counts at the start: all hold the same.
        running.scores[:, 0] = 0
        self._running, self._finished = joined(self._running, running), joined(self._finished, finished)
        self._lengths = np.append(self._lengths, np.zeros(len(options), dtype=np.int64))
        self._rules = joined(self._rules, Rules.of(options))
        self._settle()

    def keep(self, order: Ids) -> None:
        """Keeps inputs, as `Search.keep` says."""
        self._running, self._finished = kept(self._running, order), kept(self._finished, order)
        self._lengths = self._lengths[order]
        self._rules = kept(self._rules, order)
        self._settle()

    def _settle(self) -> None:
        """Works out, after inputs joined or left, what every step would else work out anew."""
        inputs = len(self)
        self._every = np.arange(inputs)[:, None]
        self._positions = self._lengths.repeat(self.num_beams)
        self._rules_of_beams = kept(self._rules, np.arange(inputs).repeat(self.num_beams))
        self._look_at_finished()

    def next_tokens(self) -> Ids:
        """Returns the last token of each row."""
        return self._running.ids[self._every, self._beams, self._lengths[:, None]].reshape(-1)

    def positions(self) -> Ids:
        """Returns each row's count of tokens behind the start token."""
        return self._positions

    def advance(self, scores: StepScores) -> Advance:
        """Takes each input's best continuations, and decides the inputs that have nothing better to come."""
        found = self._candidates(scores)
        self._lengths, self._positions = self._lengths + 1, self._positions + 1
        is_last = (found.tokens == self._configuration.eos_id) | (self._lengths == self._rules.max_new_tokens)[:, None]
        # Most steps end nothing, and are asked for less.
        if has_ends := bool(is_last.any()):
            self._keep_best(found, is_last)
            found = self._open(found, is_last)
        origins = self._go_on(found)
        if not (has_ends or self._has_full):
            return Advance(origins=origins)
        is_done = ~self._may_improve() | is_last.all(axis=1)
        if self._rules.may_stop_early:
            is_done |= self._finished.is_finished.all(axis=1) & self._rules.early_stopping
        done = {row: self._ended(row) for row in is_done.nonzero()[0].tolist()}
        told = [(row, token) for row, sequence in done.items() for token in sequence.ids]
        return Advance(told, done, origins)

    def cut(self, row: int) -> GeneratedSequence:
        """Returns the best open hypothesis."""
        best = int(self._running.scores[row].argmax())
        return GeneratedSequence(self._running.ids[row, best, 1 : self._lengths[row] + 1].tolist(), "cancelled")

    def _candidates(self, scores: StepScores) -> Candidates:
        """Returns the best `2 * beams` continuations of each input."""
        inputs, beams = len(self), self.num_beams
        history = self._running.ids.reshape(inputs * beams, -1)
        tokens, logits = allowed(
            scores, history, self._positions, self._rules_of_beams, self._configuration, needed=2 * beams
        )
        offsets = self._running.scores.reshape(-1) - scores.log_sum_exp
        totals = (logits + offsets[:, None]).reshape(inputs, -1)
        places = best_first(totals)[:, : 2 * beams]
        every = self._every
        return Candidates(tokens.reshape(inputs, -1)[every, places], places // tokens.shape[1], totals[every, places])

    def _open(self, found: Candidates, is_last: NDArray[np.bool_]) -> Candidates:
        """Returns candidates with those that end behind all others."""
        scores = np.where(is_last, found.scores + NEVER, found.scores)
        order = best_first(scores)
        every = self._every
        return Candidates(found.tokens[every, order], found.origins[every, order], scores[every, order])

    def _go_on(self, candidates: Candidates) -> Ids:
        """Makes the first candidates the open hypotheses; returns what each of them continues, `(inputs, beams)`."""
        every, first = self._every, slice(self.num_beams)
        origins = candidates.origins[:, first]
        held = self._running.ids[:, :, : int(self._lengths.max(initial=0))]
        held[:] = held[every, origins]
        self._running.ids[every, self._beams, self._lengths[:, None]] = candidates.tokens[:, first]
        self._running.scores = candidates.scores[:, first]
        return origins

    def _keep_best(self, found: Candidates, is_last: NDArray[np.bool_]) -> None:
        """Keeps the best finished hypotheses of those held and of those of the first `beams` candidates that end."""
        first = slice(self.num_beams)
        just_finished, scores = is_last[:, first], found.scores[:, first] / self._penalties()
        # Most that end late are no better than what is held, and change nothing.
        [rows] = np.nonzero((just_finished & (scores > self._worst[:, None])).any(axis=1))
        if not len(rows):
            return
        held, just_finished = kept(self._finished, rows), just_finished[rows]
        own_lengths = self._lengths[rows][:, None]
        ids = self._running.ids[rows[:, None], found.origins[rows, first]]
        ids[np.arange(len(rows))[:, None], self._beams, own_lengths] = found.tokens[rows, first]
        scores = scores[rows] + ~just_finished * NEVER
        merged = (
            np.concatenate([held.ids, ids], axis=1),
            np.concatenate([held.scores, scores.astype(np.float32)], axis=1),
            np.concatenate([held.lengths, np.broadcast_to(own_lengths, scores.shape)], axis=1),
            np.concatenate([held.is_finished, just_finished], axis=1),
        )
        best = best_first(merged[1])[:, : self.num_beams]
        finished = self._finished
        mine: tuple[NDArray[Any], ...] = (finished.ids, finished.scores, finished.lengths, finished.is_finished)
        for all_rows, part in zip(mine, merged, strict=True):
            all_rows[rows] = part[np.arange(len(rows))[:, None], best]
        self._look_at_finished()

    def _may_improve(self) -> NDArray[np.bool_]:
        """Whether each input's best open beam could still beat its worst finished one, at the length it has now."""
        best_open = self._running.scores.max(axis=1) / self._penalties()[:, 0]
        return np.asarray(best_open > self._worst)

    def _look_at_finished(self) -> None:
        """Works out what each input's open beams have to beat, `(inputs,)`, and whether that is anything yet."""
        finished = self._finished
        worst = np.where(finished.is_finished, finished.scores.min(axis=1, keepdims=True), NEVER)
        self._worst: Scores = worst.min(axis=1)
        # With fewer finished hypotheses than beams, any other is wanted.
        self._has_full = bool((self._worst > NEVER).any())

    def _penalties(self) -> Scores:
        """Returns what sums of log-probabilities are divided by, `(inputs, 1)`."""
        return (self._lengths.astype(np.float64) ** self._rules.length_penalty).astype(np.float32)[:, None]

    def _ended(self, row: int) -> GeneratedSequence:
        finished = self._finished
        ids: list[int] = finished.ids[row, 0, 1 : finished.lengths[row, 0] + 1].tolist()
        return GeneratedSequence(ids, finish_reason(ids, int(self._rules.max_new_tokens[row]), self._configuration))

    def _blank(self, options: Sequence[GenerationOptions]) -> tuple[Running, Finished]:
        inputs, width = len(options), max((each.max_new_tokens for each in options), default=0) + 1
        shape = (inputs, self.num_beams)
        ids = np.zeros((*shape, width), dtype=np.int64)
        ids[:, :, 0] = self._configuration.decoder_start_id
        scores = np.full(shape, NEVER, dtype=np.float32)
        lengths, is_finished = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
        return Running(ids, scores), Finished(ids.copy(), scores.copy(), lengths, is_finished)
