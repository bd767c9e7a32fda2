"""Beam search with transformers' rules, so that the same weights give the same token ids.

The rules are those of `GenerationMixin._beam_search` (transformers 4.57): twice as many candidates as beams,
finished ones scored by log-probability over length to the power of the length penalty, and an end once the best
open beam cannot beat the worst finished one. Inputs are decided each for itself, whatever their ages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models_store.configuration import ModelConfiguration
from models_store.decoding.rules import Rules, allowed
from models_store.decoding.scores import Ids, Scores, StepScores, best_first
from models_store.decoding.search import Advance, finish_reason
from models_store.decoding.table import joined, kept
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Sequenced

NEVER = np.float32(-1.0e9)
# Beyond twice the beams, so that a forbidden token or two need no look at the whole vocabulary.
SPARE = 2


@dataclass
class Beams:
    """Hypotheses of every input: `ids` `(inputs, beams, length)`, `scores` `(inputs, beams)`.

    `lengths` counts each one's new tokens; `is_finished` is of use for finished hypotheses alone.
    """

    ids: Ids
    scores: Scores
    lengths: Ids
    is_finished: NDArray[np.bool_]

    def take(self, chosen: Ids) -> "Beams":
        """Returns the hypotheses at `chosen` `(inputs, n)`, for each input its own."""
        rows = np.arange(len(chosen))[:, None]
        return Beams(
            self.ids[rows, chosen],
            self.scores[rows, chosen],
            self.lengths[rows, chosen],
            self.is_finished[rows, chosen],
        )


class BeamSearch:
    """`num_beams` rows an input."""

    is_normalised = True

    def __init__(self, configuration: ModelConfiguration, num_beams: int) -> None:
        self.num_beams = num_beams
        self.top = min(2 * num_beams + SPARE, configuration.vocabulary)
        self._configuration = configuration
        self._take_rules(Rules.of([]))
        # How many new tokens each input's hypotheses have, `(inputs,)`.
        self._lengths: Ids = np.zeros(0, dtype=np.int64)
        self._running = self._finished = self._blank([])

    def __len__(self) -> int:
        return len(self._lengths)

    def join(self, options: Sequence[GenerationOptions]) -> None:
        """Adds inputs, as `Search.join` says."""
        running = self._blank(options)
        # Only the first beam counts at the start: all hold the same.
        running.scores[:, 0] = 0
        self._running = joined(self._running, running)
        self._finished = joined(self._finished, self._blank(options))
        self._lengths = np.append(self._lengths, np.zeros(len(options), dtype=np.int64))
        self._take_rules(joined(self._rules, Rules.of(options)))

    def keep(self, order: Ids) -> None:
        """Keeps inputs, as `Search.keep` says."""
        self._running, self._finished = kept(self._running, order), kept(self._finished, order)
        self._lengths = self._lengths[order]
        self._take_rules(kept(self._rules, order))

    def next_tokens(self) -> Ids:
        """Returns the last token of each row."""
        every = np.arange(len(self))
        return self._running.ids[every, :, self._lengths].reshape(-1)

    def positions(self) -> Ids:
        """Returns each row's count of tokens behind the start token."""
        return self._lengths.repeat(self.num_beams)

    def advance(self, scores: StepScores) -> Advance:
        """Takes each input's best continuations, and decides the inputs that have nothing better to come."""
        every = np.arange(len(self))[:, None]
        candidates, origin = self._candidates(scores)
        lengths = self._lengths + 1
        is_last = (
            candidates.ids[every, np.arange(candidates.ids.shape[1]), lengths[:, None]] == self._configuration.eos_id
        )
        is_full = lengths == self._rules.max_new_tokens
        is_last |= is_full[:, None]
        chosen = best_first(np.where(is_last, candidates.scores + NEVER, candidates.scores))[:, : self.num_beams]
        self._keep_best(candidates, is_last, lengths)
        self._running = candidates.take(chosen)
        self._running.scores += is_last[every, chosen] * NEVER
        self._lengths = lengths
        has_stopped = self._finished.is_finished.all(axis=1) & self._rules.early_stopping
        is_done = ~self._may_improve(lengths) | has_stopped | is_last.all(axis=1)
        done = {int(row): self._ended(int(row)) for row in np.nonzero(is_done)[0]}
        told = [(row, token) for row, sequence in done.items() for token in sequence.ids]
        return Advance(told, done, (origin[every, chosen] + every * self.num_beams).reshape(-1))

    def cut(self, row: int) -> Sequenced:
        """Returns the best open hypothesis."""
        return Sequenced(_best_ids(self._running, row), "cancelled")

    def _take_rules(self, rules: Rules) -> None:
        self._rules = rules
        self._rules_of_beams = kept(rules, np.arange(len(rules.max_new_tokens)).repeat(self.num_beams))

    def _candidates(self, scores: StepScores) -> tuple[Beams, Ids]:
        """Returns the best `2 * beams` continuations of each input, best first, and the beam each continues."""
        inputs, beams = len(self), self.num_beams
        history = self._running.ids.reshape(inputs * beams, -1)
        tokens, logits = allowed(
            scores, history, self.positions(), self._rules_of_beams, self._configuration, needed=2 * beams
        )
        offsets = self._running.scores.reshape(-1) - scores.normalisers
        totals = (logits + offsets[:, None]).reshape(inputs, -1)
        places = best_first(totals)[:, : 2 * beams]
        every = np.arange(inputs)[:, None]
        origin = places // tokens.shape[1]
        candidates = self._running.take(origin)
        candidates.scores = totals[every, places]
        lengths = self._lengths + 1
        candidates.ids[every, np.arange(places.shape[1]), lengths[:, None]] = tokens.reshape(inputs, -1)[every, places]
        candidates.lengths = np.broadcast_to(lengths[:, None], candidates.lengths.shape).copy()
        return candidates, origin

    def _keep_best(self, candidates: Beams, is_last: NDArray[np.bool_], lengths: Ids) -> None:
        """Keeps the best finished hypotheses of those held and of those of the first `beams` candidates that end."""
        finished = self._finished
        just_finished = is_last.copy()
        just_finished[:, self.num_beams :] = False
        if not just_finished.any():
            return
        scores = candidates.scores / self._penalties(lengths) + ~just_finished * NEVER
        merged = Beams(
            np.concatenate([finished.ids, candidates.ids], axis=1),
            np.concatenate([finished.scores, scores.astype(np.float32)], axis=1),
            np.concatenate([finished.lengths, candidates.lengths], axis=1),
            np.concatenate([finished.is_finished, just_finished], axis=1),
        )
        self._finished = merged.take(best_first(merged.scores)[:, : self.num_beams])

    def _may_improve(self, lengths: Ids) -> NDArray[np.bool_]:
        """Whether each input's best open beam could still beat its worst finished one, at the length it has now."""
        finished = self._finished
        best_open = self._running.scores[:, :1] / self._penalties(lengths)
        worst = np.where(finished.is_finished, finished.scores.min(axis=1, keepdims=True), NEVER)
        return np.asarray((best_open > worst).any(axis=1))

    def _penalties(self, lengths: Ids) -> Scores:
        """Returns what sums of log-probabilities are divided by, `(inputs, 1)`."""
        return (lengths.astype(np.float64) ** self._rules.length_penalty).astype(np.float32)[:, None]

    def _ended(self, row: int) -> Sequenced:
        ids = _best_ids(self._finished, row)
        return Sequenced(ids, finish_reason(ids, int(self._rules.max_new_tokens[row]), self._configuration))

    def _blank(self, options: Sequence[GenerationOptions]) -> Beams:
        inputs, width = len(options), max((each.max_new_tokens for each in options), default=0) + 1
        ids = np.zeros((inputs, self.num_beams, width), dtype=np.int64)
        ids[:, :, 0] = self._configuration.decoder_start_id
        return Beams(
            ids,
            np.full((inputs, self.num_beams), NEVER, dtype=np.float32),
            np.zeros((inputs, self.num_beams), dtype=np.int64),
            np.zeros((inputs, self.num_beams), dtype=bool),
        )


def _best_ids(beams: Beams, row: int) -> list[int]:
    ids: list[int] = beams.ids[row, 0, 1 : beams.lengths[row, 0] + 1].tolist()
    return ids
