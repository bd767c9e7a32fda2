"""Beam search that gives the same token ids as transformers.

The rules are those of `GenerationMixin._beam_search` (transformers 4.57). Each step considers twice as many candidates
as beams. The score of a finished hypothesis is its log-probability divided by its length to the power of the length
penalty. An input ends once its best open beam cannot beat its worst finished one. Inputs are independent of each other.

A token may be streamed once it is final: once all open beams share it, and all finished hypotheses that can still be
the output. A finished hypothesis with a very low score can no longer be the output: the best beam would stay above this
score even at a loss of `MAX_TOKEN_LOSS` a token. Without this exception the empty output, which is often among the
first finished hypotheses, would hold back every token until the end. With a repetition penalty there is no exception,
since the penalty may make any token very unlikely.
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

# The score of a hypothesis that does not exist. It is also added to the score of a candidate that must come last. The
# value is taken from transformers: it is finite, so that sums and differences with it stay numbers.
NEVER = np.float32(-1.0e9)
# How much the best beam's log-probability falls a token at most, in nats, on average over the rest of an output. This
# is an assumption. If it is wrong, the output is the best hypothesis that begins with the reported tokens.
MAX_TOKEN_LOSS = 5.0
# Candidates beyond twice the beams: one or two forbidden tokens then need no search of the whole vocabulary.
SPARE_CANDIDATES = 2
# Tokens by which the arrays of ids grow. They do not begin at full length: few outputs need it, and a join copies them.
ADDED_TOKENS = 32


@dataclass
class OpenHypotheses:
    """The open hypotheses of every input: `ids` `(inputs, beams, length)`, `scores` `(inputs, beams)`."""

    ids: Ids
    scores: Scores


@dataclass
class FinishedHypotheses:
    """The best finished hypotheses of every input, best first: `ids` `(inputs, beams, length)`.

    The other arrays are `(inputs, beams)`. `scores` are `NEVER` where there is no hypothesis yet. `log_probabilities`
    are the scores without length penalty. Both are float32. `lengths`, int64, count new tokens.
    """

    ids: Ids
    scores: Scores
    log_probabilities: Scores
    lengths: Ids

    def insert(self, index: int, score: np.float32, log_probability: np.float32, ids: Ids, last: np.int64) -> None:
        """Adds a hypothesis of an input, behind the hypotheses that are as good or better.

        `ids` are its ids from the start token on, without the last id.
        """
        rank = int(np.count_nonzero(self.scores[index] >= score))
        for column in (self.scores, self.log_probabilities, self.lengths, self.ids):
            column[index, rank + 1 :] = column[index, rank:-1]
        length = len(ids)
        self.scores[index, rank] = score
        self.log_probabilities[index, rank] = log_probability
        # The start token does not count, the last token does.
        self.lengths[index, rank] = length
        self.ids[index, rank, :length] = ids
        self.ids[index, rank, length] = last


@dataclass(frozen=True)
class BeamCandidates:
    """The best continuations of every input, best first, each `(inputs, 2 * beams)`."""

    tokens: Ids
    # The beam that each candidate continues.
    origins: Ids
    scores: Scores


class BeamSearch:
    """Beam search, with `num_beams` rows an input. See `Search` for the methods.

    Hypotheses are kept by input, not by row: `index` is the place of an input in arrays `(inputs, ...)`.
    """

    def __init__(self, configuration: ModelConfiguration, num_beams: int) -> None:
        self.num_beams = num_beams
        self.top = min(2 * num_beams + SPARE_CANDIDATES, configuration.vocabulary)
        self.spare = max(self.top - 2 * num_beams, 0)
        self._configuration = configuration
        self._rules = Rules.of([])
        # New tokens of each input's hypotheses, `(inputs,)`.
        self._lengths: Ids = np.zeros(0, dtype=np.int64)
        self._is_streamed = np.zeros(0, dtype=bool)
        # Tokens of each input that were reported as final, `(inputs,)`.
        self._reported: Ids = np.zeros(0, dtype=np.int64)
        self._open, self._finished = self._new_hypotheses([])
        self._update_derived()

    def __len__(self) -> int:
        return len(self._lengths)

    def join(self, options: Sequence[GenerationOptions], is_streamed: Sequence[bool]) -> None:
        new_open, new_finished = self._new_hypotheses(options)
        # At the start all beams are the same, so only the first one counts.
        new_open.scores[:, 0] = 0
        self._open = concatenate_rows(self._open, new_open)
        self._finished = concatenate_rows(self._finished, new_finished)
        zeros = np.zeros(len(options), dtype=np.int64)
        self._lengths, self._reported = np.append(self._lengths, zeros), np.append(self._reported, zeros)
        self._is_streamed = np.append(self._is_streamed, np.array(is_streamed, dtype=bool))
        self._rules = self._rules.joined(Rules.of(options))
        self._update_derived()

    def keep(self, order: Ids) -> None:
        self._open, self._finished = keep_rows(self._open, order), keep_rows(self._finished, order)
        self._lengths, self._reported = self._lengths[order], self._reported[order]
        self._is_streamed = self._is_streamed[order]
        self._rules = self._rules.select(order)
        self._update_derived()

    def _update_derived(self) -> None:
        """Computes what stays the same until inputs join or leave."""
        inputs = len(self)
        # The indices of all inputs, `(inputs, 1)`, and of all rows, `(rows,)`.
        self._input_column = np.arange(inputs)[:, None]
        self._all_rows = np.arange(inputs * self.num_beams)
        self._positions = self._lengths.repeat(self.num_beams)
        self._next_tokens: Ids = self._open.ids.take(self._all_rows * self._open.ids.shape[-1] + self._positions)
        self._rules_of_beams = self._rules.select(self._all_rows // self.num_beams)
        self._streamed: Ids = self._is_streamed.nonzero()[0]
        self._update_worst_finished()

    def next_tokens(self) -> Ids:
        return self._next_tokens

    def positions(self) -> Ids:
        return self._positions

    def advance(self, scores: StepScores) -> Advance:
        """Extends each input's best hypotheses, and ends the inputs that cannot improve."""
        candidates = self._candidates(scores)
        self._lengths, self._positions = self._lengths + 1, self._positions + 1
        is_longest = (self._lengths == self._rules.max_new_tokens)[:, None]
        is_last = (candidates.tokens == self._configuration.eos_id) | is_longest
        has_ends = bool(np.count_nonzero(is_last))
        # Most steps finish no hypothesis and take this short path.
        if not has_ends and not self._may_any_end:
            origins = self._extend(candidates)
            return Advance(self._shared_tokens() if len(self._streamed) else [], origins=origins)
        # The divisors of log-probabilities, `(inputs, 1)`.
        penalties = (self._lengths.astype(np.float64) ** self._rules.length_penalty).astype(np.float32)[:, None]
        if has_ends:
            self._keep_best(candidates, is_last, penalties)
            candidates = self._finished_last(candidates, is_last)
        origins = self._extend(candidates)
        new_tokens = self._shared_tokens() if len(self._streamed) else []
        # An input goes on while its best open beam, at its current length, beats its worst finished hypothesis.
        may_improve = self._open.scores.max(axis=1) / penalties[:, 0] > self._worst_finished
        is_done = ~may_improve | is_last.all(axis=1)
        if self._rules.may_stop_early:
            is_done |= (self._worst_finished > NEVER) & self._rules.early_stopping
        finished = {index: self._output(index) for index in is_done.nonzero()[0].tolist()}
        for index, sequence in finished.items():
            new_tokens += [(index, token) for token in sequence.ids[self._reported[index] :]]
        return Advance(new_tokens, finished, origins)

    def cut(self, index: int) -> GeneratedSequence:
        best = int(self._open.scores[index].argmax())
        ids: list[int] = self._open.ids[index, best, 1 : self._lengths[index] + 1].tolist()
        mean = self._mean_log_probability(index, self._open.scores[index, best], ids)
        return GeneratedSequence(ids, "cancelled", mean)

    def _mean_log_probability(self, index: int, total: np.float32, ids: list[int]) -> float | None:
        """Returns the mean log-probability of a hypothesis. With a repetition penalty the search does not know it."""
        return None if self._rules.is_penalized[index] else token_mean(float(total), ids)

    def _shared_tokens(self) -> list[tuple[int, int]]:
        """Returns the tokens of streamed inputs that became final with this step, and marks them as reported."""
        found: list[tuple[int, int]] = []
        indices, finished = self._streamed, self._finished
        # Each pass looks at the next token of the inputs whose last one was final.
        while len(indices):
            # The place of the next token in the ids: the start token is at 0.
            place = np.minimum(self._reported[indices] + 1, self._open.ids.shape[-1] - 1)
            tokens = self._open.ids[indices, :, place]
            # The token of the first open beam. All other beams must have the same.
            expected = tokens[:, :1]
            is_shared = (tokens == expected).all(axis=1) & (self._reported[indices] < self._lengths[indices])
            scores = finished.scores[indices]
            is_finished = scores > NEVER
            if is_finished.any():
                may_win = is_finished & (scores >= self._lowest_scores(indices)[:, None])
                is_same = (finished.ids[indices, :, place] == expected) & (finished.lengths[indices] >= place[:, None])
                is_shared &= (is_same | ~may_win).all(axis=1)
            indices = indices[is_shared]
            self._reported[indices] += 1
            found += zip(indices.tolist(), expected[is_shared, 0].tolist(), strict=True)
        return found

    def _lowest_scores(self, indices: Ids) -> NDArray[np.float64]:
        """Returns the lowest score at which the best open beam of each input is expected to finish, `(indices,)`."""
        best = self._open.scores[indices].max(axis=1).astype(np.float64)
        length, penalty = self._lengths[indices], self._rules.length_penalty[indices]
        # The beam ends after 1 to `most_steps` more steps. Its score after a number of steps is
        # `(best - loss * steps) / (length + steps) ** penalty`. This function is lowest at the first step, at the last
        # step, or where its slope is 0: at `(loss * length + penalty * best) / (loss * (penalty - 1))` steps.
        one_step = np.ones(len(indices))
        most_steps = np.maximum(self._rules.max_new_tokens[indices] - length, 1)
        dividend, divisor = MAX_TOKEN_LOSS * length + penalty * best, MAX_TOKEN_LOSS * (penalty - 1)
        flat_steps = np.divide(dividend, divisor, out=one_step.copy(), where=divisor != 0)
        steps = np.stack([one_step, np.clip(flat_steps, 1, most_steps), most_steps])
        scores = (best - MAX_TOKEN_LOSS * steps) / (length + steps) ** penalty
        # A repetition penalty multiplies the loss, so there is no lowest score.
        return np.where(self._rules.is_penalized[indices], -np.inf, scores.min(axis=0))

    def _candidates(self, scores: StepScores) -> BeamCandidates:
        """Returns the best `2 * beams` continuations of each input."""
        inputs, beams = len(self), self.num_beams
        history = self._open.ids.reshape(inputs * beams, -1)
        rules, configuration = self._rules_of_beams, self._configuration
        tokens, logits = allowed(scores, history, self._positions, rules, configuration, spare=self.spare)
        offsets = self._open.scores.reshape(-1) - scores.log_sum_exp
        totals = (logits + offsets[:, None]).reshape(inputs, -1)
        best = best_first(totals)[:, : 2 * beams]
        # The places of the best totals in the flat array, for `take`.
        places = best + self._input_column * totals.shape[1]
        return BeamCandidates(tokens.take(places), best // tokens.shape[1], totals.take(places))

    def _finished_last(self, candidates: BeamCandidates, is_last: NDArray[np.bool_]) -> BeamCandidates:
        """Returns the candidates in another order: the finished ones after all others."""
        scores = np.where(is_last, candidates.scores + NEVER, candidates.scores)
        places = best_first(scores) + self._input_column * scores.shape[1]
        return BeamCandidates(candidates.tokens.take(places), candidates.origins.take(places), scores.take(places))

    def _extend(self, candidates: BeamCandidates) -> Ids:
        """Makes the first candidates the open hypotheses; returns the beams that they continue, `(inputs, beams)`."""
        first_beams = slice(self.num_beams)
        length = self._open.ids.shape[-1]
        origins = candidates.origins[:, first_beams]
        # `take` releases the interpreter lock once. An index of several arrays would release it for each array.
        ids = self._open.ids.reshape(-1, length).take(origins + self._input_column * self.num_beams, axis=0)
        self._next_tokens = candidates.tokens[:, first_beams].reshape(-1)
        ids.put(self._all_rows * length + self._positions, self._next_tokens)
        self._open.ids = ids
        self._open.scores = candidates.scores[:, first_beams]
        # The ids have no place for the next token: they grow.
        if int(self._lengths.max(initial=0)) + 1 == length:
            for hypotheses in (self._open, self._finished):
                hypotheses.ids = np.pad(hypotheses.ids, [(0, 0), (0, 0), (0, ADDED_TOKENS)])
        return origins

    def _keep_best(self, candidates: BeamCandidates, is_last: NDArray[np.bool_], penalties: Scores) -> None:
        """Adds finished candidates among the first `beams` to the finished hypotheses, which keep the best."""
        first_beams = slice(self.num_beams)
        scores = candidates.scores[:, first_beams] / penalties
        # Most late candidates are worse than all finished hypotheses and change nothing.
        indices, ranks = (is_last[:, first_beams] & (scores > self._worst_finished[:, None])).nonzero()
        for index, rank in zip(indices.tolist(), ranks.tolist(), strict=True):
            score = scores[index, rank]
            # An insertion of this loop may have raised the worst finished score of the input.
            if score <= self._finished.scores[index, -1]:
                continue
            history = self._open.ids[index, candidates.origins[index, rank], : self._lengths[index]]
            last = candidates.tokens[index, rank]
            self._finished.insert(index, score, candidates.scores[index, rank], history, last)
        if len(indices):
            self._update_worst_finished()

    def _update_worst_finished(self) -> None:
        """Computes the score that open beams must beat, `(inputs,)`: `NEVER` if fewer hypotheses than beams ended."""
        self._worst_finished: Scores = self._finished.scores[:, -1].copy()
        # Whether an input has as many finished hypotheses as beams, so that a step may end it.
        self._may_any_end = bool(np.count_nonzero(self._worst_finished > NEVER))

    def _output(self, index: int) -> GeneratedSequence:
        """Returns the best finished hypothesis of an input that begins with the tokens that were reported."""
        finished = self._finished
        # The places of the reported tokens in the ids. The start token is at 0.
        reported = slice(1, int(self._reported[index]) + 1)
        is_finished = finished.scores[index] > NEVER
        best_rank = 0
        if reported.stop > 1:
            # Nearly always the best hypothesis begins with the reported tokens.
            begins = (finished.ids[index, :, reported] == self._open.ids[index, 0, reported]).all(axis=1)
            is_possible = begins & is_finished & (finished.lengths[index] >= self._reported[index])
            if not is_possible.any():
                return replace(self.cut(index), finish_reason="length")
            best_rank = int(is_possible.argmax())
        best = self._sequence(index, best_rank)
        count = int(self._rules.num_return_sequences[index])
        if count == 1:
            return best
        others: list[int] = is_finished.nonzero()[0].tolist()
        others.remove(best_rank)
        return replace(best, alternatives=tuple(self._sequence(index, rank) for rank in others[: count - 1]))

    def _sequence(self, index: int, rank: int) -> GeneratedSequence:
        finished = self._finished
        ids: list[int] = finished.ids[index, rank, 1 : finished.lengths[index, rank] + 1].tolist()
        reason = finish_reason(ids, int(self._rules.max_new_tokens[index]), self._configuration)
        mean = self._mean_log_probability(index, finished.log_probabilities[index, rank], ids)
        return GeneratedSequence(ids, reason, mean)

    def _new_hypotheses(self, options: Sequence[GenerationOptions]) -> tuple[OpenHypotheses, FinishedHypotheses]:
        shape = (len(options), self.num_beams)
        ids = np.zeros((*shape, ADDED_TOKENS), dtype=np.int64)
        ids[:, :, 0] = self._configuration.decoder_start_id
        scores = np.full(shape, NEVER, dtype=np.float32)
        finished = FinishedHypotheses(ids.copy(), scores.copy(), scores.copy(), np.zeros(shape, dtype=np.int64))
        return OpenHypotheses(ids, scores), finished
