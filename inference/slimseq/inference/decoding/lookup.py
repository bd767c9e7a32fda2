"""Prompt lookup decoding (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding) for greedy search.

If the output's last tokens are in the source, the tokens after them in the source are a draft. One run of the decoder
scores all positions of a draft. The drafted tokens that greedy search chooses too are kept, and the token after them.
So the output is the same as in greedy search, in fewer steps where it copies.

A run with drafts costs more than a usual step. `Source` therefore compares each new token with the source, also in
steps without drafts: it knows the share of drafted tokens that would have been right. `LookupSearch.drafts` proposes
drafts only where they are expected to save more than they cost. In a step with drafts, `DecodeBatch` calls `verify`
instead of `advance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.rules import Rules, allowed, forced_tokens
from slimseq.inference.decoding.search import Advance, Ids, StepScores
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

# Positions of each input in one run: its last token and its draft. They are few, since the decoder is bound for each.
WIDTHS = np.array([4, 8, 16])
# Time that one more position of every input adds to a step, as a share of the time of a step with one position. For
# few inputs it is less, since most of a step's time goes to what all rows share, such as reading the weights: it is
# `POSITION_COST - SAVED_ALONE / inputs` (docs/decisions/039-prompt-lookup.md).
POSITION_COST, SAVED_ALONE = 0.5, 0.3
# Tokens of the n-grams that are looked up in the source, longest first.
NGRAM_SIZES = (2, 1)
# The share of drafted tokens that are expected to be right, for a new input.
FIRST_RATE = 0.5
# The weight of each further token in the moving average of this share.
RATE_WEIGHT = 0.2
# Stands behind the last token of a source. No token is equal to it.
END = -1


class Source:
    """The source of one input, and how far the output seems to be copied from it.

    Attributes:
        place: the place of the source token that is expected next; 0 where nothing seems to be copied.
        rate: the expected share of right tokens in a draft.
        steps: the number of decoder runs so far.
    """

    def __init__(self, ids: Sequence[int], eos_id: int) -> None:
        # The tokens before the end token, and then `END`.
        self._ids = [*ids, eos_id]
        self._ids[self._ids.index(eos_id) :] = [END]
        # The place after the first occurrence of each n-gram.
        self._place_after: dict[tuple[int, ...], int] = {}
        for size in NGRAM_SIZES:
            for place in range(size, len(self._ids)):
                self._place_after.setdefault(tuple(self._ids[place - size : place]), place)
        self._last_token = END
        self.place = 0
        self.rate = FIRST_RATE
        self.steps = 0

    def follow(self, tokens: Sequence[int]) -> None:
        """Takes the tokens that a step added to the output."""
        self.steps += 1
        for token in tokens:
            if self.place:
                is_right = self._ids[self.place] == token
                self.rate += RATE_WEIGHT * (is_right - self.rate)
                self.place = self.place + 1 if is_right else 0
            if not self.place:
                pair = (self._last_token, token)
                self.place = self._place_after.get(pair) or self._place_after.get((token,), 0)
            self._last_token = token

    def draft(self, max_tokens: int) -> list[int]:
        """Returns the source tokens that are expected next, without `END`."""
        if not self.place:
            return []
        return self._ids[self.place : min(self.place + max_tokens, len(self._ids) - 1)]


@dataclass(frozen=True)
class Drafts:
    """The tokens of one run of the decoder.

    Attributes:
        tokens: the last token of each input and its draft, `(inputs, width)`. A shorter draft is filled up with copies
            of its last token at the same position, which change nothing.
        positions: the positions of these tokens, `(inputs, width)`.
        lengths: the drafted tokens of each input, without copies, `(inputs,)`.
    """

    tokens: Ids
    positions: Ids
    lengths: Ids


class LookupSearch(GreedySearch):
    """Greedy search for which a step may be `verify` with what `drafts` finds, in place of `advance`.

    The state of an input is its `Source`.
    """

    def read(self, sources: Sequence[Sequence[int]], options: Sequence[GenerationOptions]) -> None:
        """Takes the ids of the inputs that joined last."""
        first_row = len(self) - len(sources)
        for row, (ids, row_options) in enumerate(zip(sources, options, strict=True), first_row):
            self._states[row] = Source(ids if row_options.speculates else (), self._configuration.eos_id)

    def _update_derived(self) -> None:
        super()._update_derived()
        # The rules of all rows of a run, by its width: the rows of an input.
        self._rules_of_runs: dict[int, Rules] = {}

    def _choose(self, scores: StepScores) -> Ids:
        chosen = super()._choose(scores)
        for source, token in zip(self._states, chosen.tolist(), strict=True):
            source.follow((token,))
        return chosen

    def drafts(self) -> Drafts | None:
        """Returns the drafts of the next step; None if a usual step is expected to give more tokens a second."""
        rates = [each.rate if each.place else 0.0 for each in self._states]
        position_cost = POSITION_COST - SAVED_ALONE / len(rates)
        # Even the first drafted token, which is most likely to be right, would cost more than it gives.
        if sum(rates) <= position_cost * len(rates):
            return None
        longest = int(WIDTHS[-1]) - 1
        # The token after a draft needs a place too.
        free_places = np.minimum(self._rules.max_new_tokens - 1 - self._rows.positions, longest).tolist()
        drafts = [source.draft(free) for source, free in zip(self._states, free_places, strict=True)]
        lengths = np.array(list(map(len, drafts)))
        width = _best_width(lengths, np.array(rates), position_cost)
        if width is None:
            return None
        lengths = np.minimum(lengths, width - 1)
        tokens = np.zeros((len(drafts), width), dtype=np.int64)
        tokens[:, 0] = self.next_tokens()
        for row, draft in enumerate(drafts):
            tokens[row, 1 : lengths[row] + 1] = draft[: width - 1]
        places = np.minimum(np.arange(width), lengths[:, None])
        return Drafts(tokens[self._all_rows[:, None], places], self._rows.positions[:, None] + places, lengths)

    def verify(self, drafts: Drafts, scores: StepScores) -> Advance:
        """Keeps the tokens of drafts that greedy search chooses too, and the token after them.

        `scores` has all rows of the run, the rows of an input one after another.
        """
        rows, all_rows = self._rows, self._all_rows
        width = drafts.tokens.shape[1]
        # The history of a position is the output with the draft before this position.
        rows.ids[all_rows[:, None], drafts.positions] = drafts.tokens
        if width not in self._rules_of_runs:
            self._rules_of_runs[width] = self._rules.select(all_rows.repeat(width))
        rules = self._rules_of_runs[width]
        positions, history = drafts.positions.reshape(-1), rows.ids.repeat(width, axis=0)
        best_tokens, _ = allowed(scores, history, positions, rules, self._configuration, spare=self.spare)
        chosen = best_tokens[:, 0]
        values = scores.of_tokens(chosen) - scores.log_sum_exp
        forced = forced_tokens(positions, rules, self._configuration)
        if forced is not None:
            values[forced >= 0] = 0
        chosen, values = chosen.reshape(-1, width), values.reshape(-1, width)
        is_right = (chosen[:, :-1] == drafts.tokens[:, 1:]) & (np.arange(1, width) <= drafts.lengths[:, None])
        # The drafted tokens of each input before its first wrong one, `(inputs,)`. One more token is new: the token
        # that greedy search chooses after them.
        right_tokens = is_right.cumprod(axis=1).sum(axis=1)
        new_tokens = right_tokens + 1
        # The values are added one after another, as in the steps of greedy search: the sums must have the same bits.
        sums = np.concatenate([rows.log_probabilities[:, None], values], axis=1).cumsum(axis=1)
        rows.log_probabilities[:] = sums[all_rows, new_tokens]
        last_tokens = chosen[all_rows, right_tokens]
        rows.ids[all_rows, rows.positions + new_tokens] = last_tokens
        np.add(rows.positions, new_tokens, out=rows.positions)
        kept = [tokens[:count].tolist() for tokens, count in zip(chosen, new_tokens, strict=True)]
        for source, tokens in zip(self._states, kept, strict=True):
            source.follow(tokens)
        return self._progress(last_tokens, [(row, token) for row in self._streamed for token in kept[row]])

    def _finished(self, row: int) -> GeneratedSequence:
        return replace(super()._finished(row), steps=self._states[row].steps)


def _best_width(lengths: Ids, rates: NDArray[np.float64], position_cost: float) -> int | None:
    """Returns the width of a run that gives most tokens a second; None if a usual step gives more.

    Args:
        lengths: how many drafted tokens each input has, `(inputs,)`.
        rates: the expected share of right tokens in each input's draft, `(inputs,)`.
        position_cost: the time of one more position of all inputs, as a share of the time of a step.
    """
    drafted = np.arange(1, WIDTHS[-1])
    # A drafted token counts only if all drafted tokens before it are right.
    probabilities = np.where(drafted <= lengths[:, None], rates[:, None] ** drafted, 0.0)
    right_tokens = probabilities.mean(axis=0).cumsum()
    # Tokens over time, for each width. A run of `width` positions has `width - 1` drafted tokens.
    worth = (1 + right_tokens[WIDTHS - 2]) / (1 + position_cost * (WIDTHS - 1))
    return None if worth.max() <= 1 else int(WIDTHS[worth.argmax()])
