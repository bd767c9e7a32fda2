"""Greedy search: takes the most probable token at each step.

It is also the base of the other searches with one row an input: sampling, prompt lookup, and `ForcedSearch`, which
scores a given output. They choose tokens otherwise (`_choose`), and keep what they need of each input in `_states`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.rules import Rules, allowed, forced_tokens
from slimseq.inference.decoding.search import (
    Advance,
    Ids,
    StepScores,
    concatenate_rows,
    finish_reason,
    keep_rows,
    token_mean,
)
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.generation import ForcedOptions, GenerationOptions


@dataclass(frozen=True)
class _Rows:
    """The outputs so far.

    Attributes:
        ids: `(rows, length)`, the start token first. What follows a row's last token is not valid.
        positions: how many tokens each row has after the start token, `(rows,)`.
        log_probabilities: the sum of these tokens' log-probabilities, `(rows,)`.
    """

    ids: Ids
    positions: Ids
    log_probabilities: NDArray[np.float64]


class GreedySearch:
    """Greedy search, with one row an input. See `Search` for the methods."""

    num_beams = 1
    top = 1
    spare = 0

    def __init__(self, configuration: ModelConfiguration) -> None:
        self._configuration = configuration
        self._rows = self._new_rows([])
        self._rules = Rules.of([])
        self._is_streamed = np.zeros(0, dtype=bool)
        # By row: what a subclass keeps of an input beside its row. See `_new_state`.
        self._states: list[Any] = []
        self._update_derived()

    def __len__(self) -> int:
        return len(self._rows.positions)

    def join(self, options: Sequence[GenerationOptions], is_streamed: Sequence[bool]) -> None:
        self._rows = concatenate_rows(self._rows, self._new_rows(options))
        self._rules = self._rules.joined(Rules.of(options))
        self._is_streamed = np.append(self._is_streamed, np.array(is_streamed, dtype=bool))
        self._states += map(self._new_state, options)
        self._update_derived()

    def keep(self, order: Ids) -> None:
        self._rows = keep_rows(self._rows, order)
        self._rules = self._rules.select(order)
        self._is_streamed = self._is_streamed[order]
        self._states = [self._states[row] for row in order]
        self._update_derived()

    def _new_state(self, options: GenerationOptions) -> Any:
        """Returns what a subclass keeps of a new input in `_states`."""
        return None

    def _update_derived(self) -> None:
        """Computes what stays the same until rows join or leave."""
        self._all_rows = np.arange(len(self))
        self._streamed: list[int] = self._is_streamed.nonzero()[0].tolist()

    def next_tokens(self) -> Ids:
        return self._rows.ids[self._all_rows, self._rows.positions]

    def positions(self) -> Ids:
        return self._rows.positions

    def advance(self, scores: StepScores) -> Advance:
        rows = self._rows
        chosen = self._choose(scores)
        log_probabilities = scores.of_tokens(chosen) - scores.log_sum_exp
        forced = forced_tokens(rows.positions, self._rules, self._configuration)
        if forced is not None:
            # A forced token counts as certain.
            log_probabilities[forced >= 0] = 0
        np.add(rows.log_probabilities, log_probabilities, out=rows.log_probabilities)
        np.add(rows.positions, 1, out=rows.positions)
        rows.ids[self._all_rows, rows.positions] = chosen
        return self._progress(chosen, [(row, int(chosen[row])) for row in self._streamed])

    def _progress(self, last_tokens: Ids, new_tokens: list[tuple[int, int]]) -> Advance:
        """Returns the progress of a step, given the last token of each row and the new tokens of streamed rows."""
        is_done = (last_tokens == self._configuration.eos_id) | (self._rows.positions == self._rules.max_new_tokens)
        finished = {row: self._finished(row) for row in is_done.nonzero()[0].tolist()}
        for row, sequence in finished.items():
            if not self._is_streamed[row]:
                new_tokens += [(row, token) for token in sequence.ids]
        return Advance(new_tokens, finished)

    def cut(self, index: int) -> GeneratedSequence:
        ids: list[int] = self._rows.ids[index, 1 : self._rows.positions[index] + 1].tolist()
        return GeneratedSequence(ids, "cancelled", token_mean(float(self._rows.log_probabilities[index]), ids))

    def _choose(self, scores: StepScores) -> Ids:
        """Returns the most probable token that the rules allow, for each row."""
        rows = self._rows
        tokens, _ = allowed(scores, rows.ids, rows.positions, self._rules, self._configuration, spare=self.spare)
        return tokens[:, 0]

    def _finished(self, row: int) -> GeneratedSequence:
        sequence = self.cut(row)
        reason = finish_reason(sequence.ids, int(self._rules.max_new_tokens[row]), self._configuration)
        return replace(sequence, finish_reason=reason)

    def _new_rows(self, options: Sequence[GenerationOptions]) -> _Rows:
        # The start token counts too.
        length = max((each.max_new_tokens for each in options), default=0) + 1
        ids = np.zeros((len(options), length), dtype=np.int64)
        ids[:, 0] = self._configuration.decoder_start_id
        return _Rows(ids, np.zeros(len(options), dtype=np.int64), np.zeros(len(options)))


class ForcedSearch(GreedySearch):
    """Takes the tokens of `forced_ids` of each input's options, and keeps their log-probabilities.

    The state of an input is a pair: its forced ids, and the log-probabilities of those that were taken.
    """

    def _new_state(self, options: GenerationOptions) -> tuple[Sequence[int], list[float]]:
        forced_ids = options.forced_ids if isinstance(options, ForcedOptions) else ()
        return forced_ids, []

    def _choose(self, scores: StepScores) -> Ids:
        tokens = np.array([forced_ids[len(taken)] for forced_ids, taken in self._states])
        values = scores.of_tokens(tokens) - scores.log_sum_exp
        for value, (_, taken) in zip(values.tolist(), self._states, strict=True):
            taken.append(value)
        return tokens

    def _finished(self, row: int) -> GeneratedSequence:
        _, log_probabilities = self._states[row]
        return replace(super()._finished(row), log_probabilities=log_probabilities)
