"""Prompt lookup decoding (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding) for greedy search.

A draft is what follows the output's last tokens in the source. One run of the decoder scores all its positions, and the
tokens that greedy search chooses too are kept, with the one after them. So the output is that of greedy search, in
fewer steps where it copies. How well drafts of an input would have done is known from every step, also from those
without drafts; a step has drafts only where these are expected to save more than they cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.rules import Rules, allowed, forced_tokens
from slimseq.inference.decoding.search import Advance, Ids, StepScores
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

# Positions of each input in one run, the last token's included. The decoder is bound anew for each of these numbers.
WIDTHS = np.array([4, 8, 16])
# Time that one more position of every input adds to a step, over that of a step with one position. It is less for few
# inputs, of which a usual step leaves much of its time to what all rows share (docs/decisions/039-prompt-lookup.md).
POSITION_COST, SAVED_ALONE = 0.5, 0.3
# How long n-grams are that are looked up, longest first.
NGRAM_SIZES = (2, 1)
# Share of right drafted tokens that is expected of a new input, and the weight of each token in it.
FIRST_RATE, RATE_WEIGHT = 0.5, 0.2
# Follows the last token of a source. No token is equal to it.
END = -1


class Source:
    """The source of one input, and the place in it from which the output seems to be copied; 0 means none.

    `rate` is the expected share of right tokens in a draft. `steps` counts runs of the decoder.
    """

    def __init__(self, ids: Sequence[int], eos_id: int) -> None:
        self._ids = [*ids, eos_id]
        self._ids[self._ids.index(eos_id) :] = [END]
        # The first place after each n-gram.
        self._after: dict[tuple[int, ...], int] = {}
        for size in NGRAM_SIZES:
            for place in range(size, len(self._ids)):
                self._after.setdefault(tuple(self._ids[place - size : place]), place)
        self._last = END
        self.place, self.rate, self.steps = 0, FIRST_RATE, 0

    def follow(self, tokens: Sequence[int]) -> None:
        """Takes the tokens that a step added to the output."""
        self.steps += 1
        for token in tokens:
            if self.place:
                is_right = self._ids[self.place] == token
                self.rate += RATE_WEIGHT * (is_right - self.rate)
                self.place = self.place + 1 if is_right else 0
            if not self.place:
                self.place = self._after.get((self._last, token)) or self._after.get((token,), 0)
            self._last = token

    def draft(self, most: int) -> list[int]:
        return self._ids[self.place : min(self.place + most, len(self._ids) - 1)] if self.place else []


@dataclass(frozen=True)
class Drafts:
    """The tokens of one run: the last one of each input and its draft, both `(inputs, width)`.

    A shorter draft ends in copies of its last token at the same position. `lengths` `(inputs,)` are without them.
    """

    tokens: Ids
    positions: Ids
    lengths: Ids


class LookupSearch(GreedySearch):
    """Greedy search for which a step may be `verify` with what `drafts` finds, in place of `advance`."""

    def read(self, sources: Sequence[Sequence[int]], options: Sequence[GenerationOptions]) -> None:
        """Takes the ids of the inputs that joined last."""
        first = len(self) - len(sources)
        for place, (ids, own) in enumerate(zip(sources, options, strict=True), first):
            self._states[place] = Source(ids if own.speculates else (), self._configuration.eos_id)

    def _update_derived(self) -> None:
        super()._update_derived()
        # The rules of all rows of a run, by the number of rows an input.
        self._rules_of_runs: dict[int, Rules] = {}

    def _chosen(self, scores: StepScores) -> Ids:
        chosen = super()._chosen(scores)
        for source, token in zip(self._states, chosen.tolist(), strict=True):
            source.follow((token,))
        return chosen

    def drafts(self) -> Drafts | None:
        """Returns the drafts of the next step; None if a usual step is expected to give more tokens a second."""
        rates = [each.rate if each.place else 0.0 for each in self._states]
        cost = POSITION_COST - SAVED_ALONE / len(rates)
        # A second position alone would cost more than it gives.
        if sum(rates) <= cost * len(rates):
            return None
        rows = self._rows
        most = int(WIDTHS[-1]) - 1
        room = np.minimum(self._rules.max_new_tokens - 1 - rows.positions, most).tolist()
        found = [source.draft(own) for source, own in zip(self._states, room, strict=True)]
        lengths = np.array(list(map(len, found)))
        drafted = np.arange(1, most + 1)
        right = np.where(drafted <= lengths[:, None], np.array(rates)[:, None] ** drafted, 0.0).mean(axis=0).cumsum()
        worth = (1 + right[WIDTHS - 2]) / (1 + cost * (WIDTHS - 1))
        if worth.max() <= 1:
            return None
        width = int(WIDTHS[worth.argmax()])
        lengths = np.minimum(lengths, width - 1)
        tokens = np.zeros((len(found), width), dtype=np.int64)
        tokens[:, 0] = self.next_tokens()
        for row, draft in enumerate(found):
            tokens[row, 1 : lengths[row] + 1] = draft[: width - 1]
        places = np.minimum(np.arange(width), lengths[:, None])
        return Drafts(tokens[self._every[:, None], places], rows.positions[:, None] + places, lengths)

    def verify(self, drafts: Drafts, scores: StepScores) -> Advance:
        """Keeps the tokens of drafts that greedy search chooses too, and the token after them.

        The scores are those of all rows of the run, the rows of an input one after another.
        """
        rows, every, [_, width] = self._rows, self._every, drafts.tokens.shape
        rows.ids[every[:, None], drafts.positions] = drafts.tokens
        if width not in self._rules_of_runs:
            self._rules_of_runs[width] = self._rules.select(every.repeat(width))
        rules = self._rules_of_runs[width]
        positions, history = drafts.positions.reshape(-1), rows.ids.repeat(width, axis=0)
        chosen = allowed(scores, history, positions, rules, self._configuration, needed=self.top)[0][:, 0]
        values = scores.of_tokens(chosen) - scores.log_sum_exp
        if (forced := forced_tokens(positions, rules, self._configuration)) is not None:
            values[forced >= 0] = 0
        chosen, values = chosen.reshape(-1, width), values.reshape(-1, width)
        is_right = (chosen[:, :-1] == drafts.tokens[:, 1:]) & (np.arange(1, width) <= drafts.lengths[:, None])
        right = is_right.cumprod(axis=1).sum(axis=1)
        # Added one after another, as the steps of greedy search do it.
        sums = np.concatenate([rows.log_probabilities[:, None], values], axis=1).cumsum(axis=1)
        rows.log_probabilities[:] = sums[every, right + 1]
        rows.ids[every, rows.positions + right + 1] = last = chosen[every, right]
        np.add(rows.positions, right + 1, out=rows.positions)
        kept = [own[: count + 1].tolist() for own, count in zip(chosen, right, strict=True)]
        for source, tokens in zip(self._states, kept, strict=True):
            source.follow(tokens)
        return self._reported(last, [(row, token) for row in self._streamed for token in kept[row]])

    def _finished(self, row: int) -> GeneratedSequence:
        return replace(super()._finished(row), steps=self._states[row].steps)
