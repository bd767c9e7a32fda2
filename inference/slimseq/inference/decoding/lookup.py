"""Prompt lookup decoding (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding): greedy search with drafts.

A draft of the next tokens is what follows the output's last tokens in the source. One run of the decoder scores all its
positions, and the tokens that greedy search would choose too are kept, with the one that follows them. So the output is
that of greedy search, in fewer steps where it copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.rules import Rules, allowed, forced_tokens
from slimseq.inference.decoding.scores import Ids, StepScores
from slimseq.inference.decoding.search import Advance
from slimseq.inference.decoding.table import select_rows
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.models_store.generation import GenerationOptions


@dataclass(frozen=True)
class Drafts:
    """The tokens of one run: of each input the last one and its draft, both `(inputs, rows an input)`.

    A shorter draft ends in copies of its last token at the same position. `lengths` `(inputs,)` are without them.
    """

    tokens: Ids
    positions: Ids
    lengths: Ids


class LookupSearch(GreedySearch):
    """Greedy search with drafts: `verify` in place of `advance` where `drafts` finds some."""

    def __init__(self, configuration: ModelConfiguration) -> None:
        self._sources: list[dict[tuple[int, int], int]] = []
        self._source_ids: list[list[int]] = []
        self.fixed = 8
        super().__init__(configuration)

    def read(self, sources: Sequence[Sequence[int]], options: Sequence[GenerationOptions]) -> None:
        for source in sources:
            index: dict[tuple[int, int], int] = {}
            for place in range(2, len(source)):
                index.setdefault((source[place - 2], source[place - 1]), place)
            self._sources.append(index)
            self._source_ids.append(list(source))

    def keep(self, order: Ids) -> None:
        super().keep(order)
        self._sources = [self._sources[row] for row in order]
        self._source_ids = [self._source_ids[row] for row in order]

    def _update_derived(self) -> None:
        super()._update_derived()
        self._rules_of_rows: dict[int, Rules] = {}

    def drafts(self, capacity: int) -> Drafts | None:
        rows = self._rows
        found = []
        for row, position in enumerate(rows.positions.tolist()):
            draft = []
            if position >= 2:
                place = self._sources[row].get(tuple(rows.ids[row, position - 1 : position + 1].tolist()))
                if place is not None:
                    most = min(self.fixed, capacity - 1 - position, int(self._rules.max_new_tokens[row]) - position - 1)
                    draft = self._source_ids[row][place : place + max(most, 0)]
                    if self._configuration.eos_id in draft:
                        draft = draft[: draft.index(self._configuration.eos_id)]
            found.append(draft)
        lengths = np.array(list(map(len, found)))
        longest = int(lengths.max(initial=0))
        if not longest:
            return None
        places = np.minimum(np.arange(longest + 1), lengths[:, None])
        tokens = np.zeros((len(found), longest + 1), dtype=np.int64)
        tokens[:, 0] = self.next_tokens()
        for row, draft in enumerate(found):
            tokens[row, 1 : len(draft) + 1] = draft
        return Drafts(tokens[self._every[:, None], places], rows.positions[:, None] + places, lengths)

    def verify(self, drafts: Drafts, scores: StepScores) -> Advance:
        """Keeps the tokens of drafts that are those of greedy search, and the next one of each row.

        Args:
            drafts: what the decoder ran on.
            scores: of all positions, those of an input one after another.
        """
        rows, tokens, every = self._rows, drafts.tokens, self._every[:, None]
        width = tokens.shape[1]
        after = drafts.positions + 1
        rows.ids[every, drafts.positions] = tokens
        if width not in self._rules_of_rows:
            self._rules_of_rows[width] = select_rows(self._rules, self._every.repeat(width))
        rules, positions = self._rules_of_rows[width], drafts.positions.reshape(-1)
        history = rows.ids.repeat(width, axis=0)
        chosen = allowed(scores, history, positions, rules, self._configuration, needed=self.top)[0][:, 0]
        values = scores.of_tokens(chosen) - scores.log_sum_exp
        if (forced := forced_tokens(positions, rules, self._configuration)) is not None:
            values[forced >= 0] = 0
        chosen, values = chosen.reshape(tokens.shape), values.reshape(tokens.shape)
        is_right = (chosen[:, :-1] == tokens[:, 1:]) & (np.arange(width - 1) < drafts.lengths[:, None])
        right = is_right.cumprod(axis=1).sum(axis=1)
        sums = np.concatenate([rows.log_probabilities[:, None], values], axis=1).cumsum(axis=1)
        rows.log_probabilities[:] = sums[self._every, right + 1]
        is_kept = np.arange(width) <= right[:, None]
        rows.ids[every.repeat(width, axis=1)[is_kept], after[is_kept]] = chosen[is_kept]
        np.add(rows.positions, right + 1, out=rows.positions)
        kept = {row: chosen[row, : right[row] + 1].tolist() for row in self._streamed}
        return self._reported(chosen[self._every, right], [(row, token) for row in kept for token in kept[row]])
