"""Beam search that gives the same token ids as transformers.

The rules are those of `GenerationMixin._beam_search` (transformers 4.57). Each step considers twice as many candidates
as beams. The score of a finished hypothesis is its log-probability divided by its length to the power of the length
penalty. An input ends once its best open beam cannot beat its worst finished one. Inputs are independent of each other.

A streamed token is final once all open beams share it, and all finished hypotheses that can still be the output. A
finished hypothesis cannot if its score is so low that the best beam stays above it even at `MAX_TOKEN_LOSS` a token: an
empty output is often among the first finished ones, and would hold back every token until the end. With a repetition
penalty, which may make any token as unlikely, every finished hypothesis can.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.rules import Rules, allowed
from slimseq.inference.decoding.search import (
    Advance,
    Ids,
    Scores,
    StepScores,
    best_first,
    concatenate_rows,
    finish_reason,
    keep_rows,
    token_mean,
)
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

NEVER = np.float32(-1.0e9)
# The most that the best beam's log-probability is expected to fall a token, on average over the rest of an output.
MAX_TOKEN_LOSS = 5.0
# Candidates beyond twice the beams: one or two forbidden tokens then need no search of the whole vocabulary.
SPARE_CANDIDATES = 2
# Tokens by which the arrays of ids grow: few outputs are as long as they may be, and rows are copied when one joins.
ADDED_LENGTH = 32


@dataclass
class Running:
    """The open hypotheses of every input: `ids` `(inputs, beams, length)`, `scores` `(inputs, beams)`."""

    ids: Ids
    scores: Scores


@dataclass
class FinishedHypotheses:
    """The best finished hypotheses of every input, best first: `ids` `(inputs, beams, length)`.

    The rest is `(inputs, beams)`: `scores`, which are `NEVER` where there is none yet, `log_probabilities`, scores
    without length penalty, both float32, and `lengths`, int64, which count new tokens.
    """

    ids: Ids
    scores: Scores
    log_probabilities: Scores
    lengths: Ids

    def insert(self, row: int, score: np.float32, log_probability: np.float32, ids: Ids, last: np.int64) -> None:
        """Adds a hypothesis behind those that are as good: ids from the start token on, and the last one."""
        place = int(np.count_nonzero(self.scores[row] >= score))
        for column in (self.scores, self.log_probabilities, self.lengths, self.ids):
            column[row, place + 1 :] = column[row, place:-1]
        self.scores[row, place], self.log_probabilities[row, place] = score, log_probability
        self.lengths[row, place] = length = len(ids)
        self.ids[row, place, :length], self.ids[row, place, length] = ids, last


@dataclass(frozen=True)
class BeamCandidates:
    """The best continuations of every input, best first, each `(inputs, 2 * beams)`."""

    tokens: Ids
    # The beam that each candidate continues.
    origins: Ids
    scores: Scores


class BeamSearch:
    """Beam search, with `num_beams` rows an input. See `Search` for the methods."""

    def __init__(self, configuration: ModelConfiguration, num_beams: int) -> None:
        self.num_beams = num_beams
        self.top = min(2 * num_beams + SPARE_CANDIDATES, configuration.vocabulary)
        self._configuration = configuration
        self._rules = Rules.of([])
        # New tokens of each input's hypotheses, `(inputs,)`.
        self._lengths: Ids = np.zeros(0, dtype=np.int64)
        self._is_streamed = np.zeros(0, dtype=bool)
        # Tokens of each input that were reported as final, `(inputs,)`.
        self._reported: Ids = np.zeros(0, dtype=np.int64)
        self._running, self._finished = self._blank([])
        self._update_derived()

    def __len__(self) -> int:
        return len(self._lengths)

    def join(self, options: Sequence[GenerationOptions], is_streamed: Sequence[bool]) -> None:
        running, finished = self._blank(options)
        # At the start all beams are the same, so only the first one counts.
        running.scores[:, 0] = 0
        self._running, self._finished = (
            concatenate_rows(self._running, running),
            concatenate_rows(self._finished, finished),
        )
        new = np.zeros(len(options), dtype=np.int64)
        self._lengths, self._reported = np.append(self._lengths, new), np.append(self._reported, new)
        self._is_streamed = np.append(self._is_streamed, np.array(is_streamed, dtype=bool))
        self._rules = self._rules.joined(Rules.of(options))
        self._update_derived()

    def keep(self, order: Ids) -> None:
        self._running, self._finished = keep_rows(self._running, order), keep_rows(self._finished, order)
        self._lengths, self._reported = self._lengths[order], self._reported[order]
        self._is_streamed = self._is_streamed[order]
        self._rules = self._rules.select(order)
        self._update_derived()

    def _update_derived(self) -> None:
        """Computes what stays the same until inputs join or leave."""
        inputs = len(self)
        self._every = np.arange(inputs)[:, None]
        self._positions = self._lengths.repeat(self.num_beams)
        self._rows = np.arange(inputs * self.num_beams)
        self._next_tokens: Ids = self._running.ids.take(self._rows * self._running.ids.shape[-1] + self._positions)
        self._rules_of_beams = self._rules.select(self._rows // self.num_beams)
        self._streamed: Ids = self._is_streamed.nonzero()[0]
        self._update_worst()

    def next_tokens(self) -> Ids:
        return self._next_tokens

    def positions(self) -> Ids:
        return self._positions

    def advance(self, scores: StepScores) -> Advance:
        """Extends each input's best hypotheses, and ends the inputs that cannot improve."""
        found = self._candidates(scores)
        self._lengths, self._positions = self._lengths + 1, self._positions + 1
        is_last = (found.tokens == self._configuration.eos_id) | (self._lengths == self._rules.max_new_tokens)[:, None]
        # Most steps finish no hypothesis and take this short path.
        if not ((has_ends := bool(np.count_nonzero(is_last))) or self._has_full):
            origins = self._extend(found)
            return Advance(self._shared_tokens() if len(self._streamed) else [], origins=origins)
        # The divisors of log-probabilities, `(inputs, 1)`.
        penalties = (self._lengths.astype(np.float64) ** self._rules.length_penalty).astype(np.float32)[:, None]
        if has_ends:
            self._keep_best(found, is_last, penalties)
            found = self._open(found, is_last)
        origins = self._extend(found)
        new_tokens = self._shared_tokens() if len(self._streamed) else []
        # An input goes on while its best open beam, at its current length, beats its worst finished hypothesis.
        may_improve = self._running.scores.max(axis=1) / penalties[:, 0] > self._worst
        is_done = ~may_improve | is_last.all(axis=1)
        if self._rules.may_stop_early:
            is_done |= (self._worst > NEVER) & self._rules.early_stopping
        finished = {row: self._best(row) for row in is_done.nonzero()[0].tolist()}
        for row, sequence in finished.items():
            new_tokens += [(row, token) for token in sequence.ids[self._reported[row] :]]
        return Advance(new_tokens, finished, origins)

    def cut(self, row: int) -> GeneratedSequence:
        best = int(self._running.scores[row].argmax())
        ids: list[int] = self._running.ids[row, best, 1 : self._lengths[row] + 1].tolist()
        return GeneratedSequence(ids, "cancelled", self._mean(row, self._running.scores[row, best], ids))

    def _mean(self, row: int, total: np.float32, ids: list[int]) -> float | None:
        """Returns the mean log-probability of a hypothesis. With a repetition penalty the search does not know it."""
        return None if self._rules.is_penalized[row] else token_mean(float(total), ids)

    def _shared_tokens(self) -> list[tuple[int, int]]:
        """Returns the tokens of streamed inputs that became final with this step, and marks them as reported."""
        found: list[tuple[int, int]] = []
        rows, finished = self._streamed, self._finished
        while len(rows):
            # The start token is at 0.
            place = np.minimum(self._reported[rows] + 1, self._running.ids.shape[-1] - 1)
            tokens = self._running.ids[rows, :, place]
            expected = tokens[:, :1]
            is_shared = (tokens == expected).all(axis=1) & (self._reported[rows] < self._lengths[rows])
            scores = finished.scores[rows]
            is_finished = scores > NEVER
            if is_finished.any():
                may_win = is_finished & (scores >= self._lowest_scores(rows)[:, None])
                is_same = (finished.ids[rows, :, place] == expected) & (finished.lengths[rows] >= place[:, None])
                is_shared &= (is_same | ~may_win).all(axis=1)
            rows = rows[is_shared]
            self._reported[rows] += 1
            found += zip(rows.tolist(), expected[is_shared, 0].tolist(), strict=True)
        return found

    def _lowest_scores(self, rows: Ids) -> NDArray[np.float64]:
        """Returns the lowest score at which the best open beam of each row is expected to finish, `(rows,)`."""
        best = self._running.scores[rows].max(axis=1).astype(np.float64)
        length, penalty = self._lengths[rows], self._rules.length_penalty[rows]
        most = np.maximum(self._rules.max_new_tokens[rows] - length, 1)
        # `(best - loss * steps) / (length + steps) ** penalty` is lowest at either end, or where its slope is 0.
        curve, first = MAX_TOKEN_LOSS * (penalty - 1), np.ones(len(rows))
        flat = np.divide(MAX_TOKEN_LOSS * length + penalty * best, curve, out=first.copy(), where=curve != 0)
        steps = np.stack([first, np.clip(flat, 1, most), most])
        scores = (best - MAX_TOKEN_LOSS * steps) / (length + steps) ** penalty
        # A repetition penalty multiplies the loss.
        return np.where(self._rules.is_penalized[rows], -np.inf, scores.min(axis=0))

    def _candidates(self, scores: StepScores) -> BeamCandidates:
        """Returns the best `2 * beams` continuations of each input."""
        inputs, beams = len(self), self.num_beams
        history = self._running.ids.reshape(inputs * beams, -1)
        rules, configuration = self._rules_of_beams, self._configuration
        tokens, logits = allowed(scores, history, self._positions, rules, configuration, needed=2 * beams)
        offsets = self._running.scores.reshape(-1) - scores.log_sum_exp
        totals = (logits + offsets[:, None]).reshape(inputs, -1)
        best = best_first(totals)[:, : 2 * beams]
        places = best + self._every * totals.shape[1]
        return BeamCandidates(tokens.take(places), best // tokens.shape[1], totals.take(places))

    def _open(self, found: BeamCandidates, is_last: NDArray[np.bool_]) -> BeamCandidates:
        """Returns the candidates with finished ones after all others."""
        scores = np.where(is_last, found.scores + NEVER, found.scores)
        places = best_first(scores) + self._every * scores.shape[1]
        return BeamCandidates(found.tokens.take(places), found.origins.take(places), scores.take(places))

    def _extend(self, candidates: BeamCandidates) -> Ids:
        """Makes the first candidates the open hypotheses; returns the beams that they continue, `(inputs, beams)`."""
        first, length = slice(self.num_beams), self._running.ids.shape[-1]
        origins = candidates.origins[:, first]
        # `take` releases the interpreter lock once, an index of several arrays at each part.
        ids = self._running.ids.reshape(-1, length).take(origins + self._every * self.num_beams, axis=0)
        self._next_tokens = candidates.tokens[:, first].reshape(-1)
        ids.put(self._rows * length + self._positions, self._next_tokens)
        self._running.ids = ids
        self._running.scores = candidates.scores[:, first]
        if int(self._lengths.max(initial=0)) + 1 == length:
            for hypotheses in (self._running, self._finished):
                hypotheses.ids = np.pad(hypotheses.ids, [(0, 0), (0, 0), (0, ADDED_LENGTH)])
        return origins

    def _keep_best(self, found: BeamCandidates, is_last: NDArray[np.bool_], penalties: Scores) -> None:
        """Adds finished candidates among the first `beams` to the finished hypotheses, which keep the best."""
        first = slice(self.num_beams)
        scores = found.scores[:, first] / penalties
        # Most late candidates are worse than all finished hypotheses and change nothing.
        rows, places = (is_last[:, first] & (scores > self._worst[:, None])).nonzero()
        finished, ids = self._finished, self._running.ids
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            if scores[row, place] > finished.scores[row, -1]:
                history = ids[row, found.origins[row, place], : self._lengths[row]]
                finished.insert(row, scores[row, place], found.scores[row, place], history, found.tokens[row, place])
        if len(rows):
            self._update_worst()

    def _update_worst(self) -> None:
        """Computes the score that open beams must beat, `(inputs,)`: `NEVER` if fewer hypotheses than beams ended."""
        self._worst: Scores = self._finished.scores[:, -1].copy()
        self._has_full = bool(np.count_nonzero(self._worst > NEVER))

    def _best(self, row: int) -> GeneratedSequence:
        finished, reported = self._finished, slice(1, int(self._reported[row]) + 1)
        place = 0
        if reported.stop > 1:
            # The best of those that begin with the reported tokens: all but always the best of all.
            begins = (finished.ids[row, :, reported] == self._running.ids[row, 0, reported]).all(axis=1)
            is_finished = finished.scores[row] > NEVER
            may_be = begins & is_finished & (finished.lengths[row] >= self._reported[row])
            if not may_be.any():
                return replace(self.cut(row), finish_reason="length")
            place = int(may_be.argmax())
        best = self._hypothesis(row, place)
        if (count := int(self._rules.num_return_sequences[row])) > 1:
            others: list[int] = (finished.scores[row] > NEVER).nonzero()[0].tolist()
            others.remove(place)
            best = replace(best, alternatives=tuple(self._hypothesis(row, other) for other in others[: count - 1]))
        return best

    def _hypothesis(self, row: int, place: int) -> GeneratedSequence:
        finished = self._finished
        ids: list[int] = finished.ids[row, place, 1 : finished.lengths[row, place] + 1].tolist()
        reason = finish_reason(ids, int(self._rules.max_new_tokens[row]), self._configuration)
        return GeneratedSequence(ids, reason, self._mean(row, finished.log_probabilities[row, place], ids))

    def _blank(self, options: Sequence[GenerationOptions]) -> tuple[Running, FinishedHypotheses]:
        shape = (len(options), self.num_beams)
        ids = np.zeros((*shape, ADDED_LENGTH), dtype=np.int64)
        ids[:, :, 0] = self._configuration.decoder_start_id
        scores = np.full(shape, NEVER, dtype=np.float32)
        finished = FinishedHypotheses(ids.copy(), scores.copy(), scores.copy(), np.zeros(shape, dtype=np.int64))
        return Running(ids, scores), finished
